// What both directions of the head share: activations, and the layout of a stage's numbers.
#define THREADS 256
#define WARPS (THREADS / 32)
#define UNITS 32        // most units of one small layer
#define LINEAR 0
#define RELU 1
#define LEAKY 2
#define RELU6 3
#define SOFTPLUS 4
#define TANH 5
#define SOFTMAX 6
#define LEAK real(0.01)

// f(h) of all but softmax. NaN stays NaN.
__device__ __forceinline__ real activated(real h, int f) {
    switch (f) {
        case RELU: return h < 0 ? real(0) : h;
        case LEAKY: return h > 0 ? h : h * LEAK;
        case RELU6: return h < 0 ? real(0) : (h > 6 ? real(6) : h);
        case SOFTPLUS: return (h < 0 ? real(0) : h) + log1p(exp(-fabs(h)));
        case TANH: return tanh(h);
        default: return h;
    }
}

// f'(h) of all but softmax, told by y = f(h).
__device__ __forceinline__ real slope(real y, int f) {
    switch (f) {
        case RELU: return real(y > 0);
        case LEAKY: return y > 0 ? real(1) : LEAK;
        case RELU6: return real(y > 0 && y < 6);
        case SOFTPLUS: return -expm1(-y);
        case TANH: return 1 - y * y;
        default: return real(1);
    }
}

// Of one stage: S bins, M units of the shared layer (0 is no such layer), a product of S numbers or
// the shared layer's M that p and eta are computed from.
__device__ __forceinline__ int mixed_units(int S, int M) { return M ? M : S; }

// Number f of the 1x1 convolution of a pixel, before the ReLU.
__device__ __forceinline__ real compacted(const real* pixel, const real* __restrict__ w, int C,
                                          int F, int f, real bias) {
    real z = 0;
    for (int c = 0; c < C; c++) z += pixel[c] * w[c * F + f];
    return z + bias;
}
