// What happens behind the convolution of a stream block, for the four pixels of one 2 x 2 window
// (or, without a pool, for four neighbouring pixels) of one channel.
//
//     h = scale (z - mean) + beta        scale = gamma / sqrt(var + eps)
//     a = max(h, 0) or tanh h            y = mean or maximum of the four a, or the a themselves
#define RELU 0
#define TANH 1
#define AVG 0
#define MAX 1
#define NONE 2

// Of one channel, from the batch's statistics.
struct Norm {
    real mean, inverse, scale, beta;  // inverse = 1 / sqrt(var + eps)
};

__device__ __forceinline__ Norm norm_of(int q, const real* gamma, const real* beta,
                                        const real* mean, const real* var, real eps) {
    const real inverse = 1 / sqrt(var[q] + eps);
    Norm norm = {mean[q], inverse, gamma[q] * inverse, beta[q]};
    return norm;
}

__device__ __forceinline__ real activated(real z, Norm norm, int activation) {
    const real h = (z - norm.mean) * norm.scale + norm.beta;
    return activation == RELU ? (h < 0 ? real(0) : h) : tanh(h);  // NaN stays NaN
}

// f'(h), told by a = f(h); relu'(0) = 0.
__device__ __forceinline__ real slope(real a, int activation) {
    return activation == RELU ? real(a > 0) : 1 - a * a;
}

// Which of the four is the maximum: the first of equal ones; a NaN beats every number.
__device__ __forceinline__ int first_maximum(const real (&a)[4]) {
    int best = 0;
    for (int p = 1; p < 4; p++)
        if (a[p] > a[best] || (a[p] != a[p] && a[best] == a[best])) best = p;
    return best;
}

// dL/dh of the four pixels, from their z and from the gradient of the pooled result. Without a pool
// there is one gradient for each pixel.
__device__ __forceinline__ void window_grads(const real (&z)[4], const real (&gy)[4], Norm norm,
                                             int activation, int pool, real (&g)[4]) {
    real a[4];
    for (int p = 0; p < 4; p++) a[p] = activated(z[p], norm, activation);
    const int best = pool == MAX ? first_maximum(a) : 0;
    for (int p = 0; p < 4; p++) {
        const real share = pool == NONE ? gy[p]
                           : pool == AVG ? gy[0] * real(0.25)
                                         : (p == best ? gy[0] : real(0));
        g[p] = share * slope(a[p], activation);
    }
}

// The z and gy of the window whose first pixel is (i, j) of image n; which[p] tells whether pixel p
// exists and, under a pool, belongs to a whole window. z is (N, OH, OW, CO), gy (N, PH, PW, CO).
__device__ __forceinline__ void load_window(const real* __restrict__ z,
                                            const real* __restrict__ gy, int n, int i, int j, int q,
                                            int OH, int OW, int CO, int pool, real (&values)[4],
                                            real (&grads)[4], bool (&which)[4]) {
    const int PH = OH / 2, PW = OW / 2;
    const bool whole = i >= 0 && j >= 0 && i / 2 < PH && j / 2 < PW;
    for (int p = 0; p < 4; p++) {
        const int row = i + p / 2, column = j + p % 2;
        const bool inside = row >= 0 && row < OH && column >= 0 && column < OW;
        const int number = ((n * OH + row) * OW + column) * CO + q;
        which[p] = inside;
        values[p] = inside ? z[number] : real(0);
        if (pool == NONE)
            grads[p] = inside ? gy[number] : real(0);
        else
            grads[p] = whole ? gy[((n * PH + i / 2) * PW + j / 2) * CO + q] : real(0);
    }
}
