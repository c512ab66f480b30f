// Batch normalisation over the last axis of x (M, C): M rows, one channel a column.
//
//     mean = (1/M) sum x      var = (1/M) sum (x - mean)^2      r = 1 / sqrt(var + eps)
//     y = gamma (x - mean) r + beta
//     gbeta = sum gy          ggamma = sum gy xhat
//     gx = gamma r (gy - gbeta/M - xhat ggamma/M)
//
// The sums over rows are cut into parts of `share` rows; a block of 32 x 8 threads takes one part
// of 32 channels: thread (c, r) rows r, r + 8, ... of channel c, so that a warp reads 32
// neighbouring channels of one row. Inside the block, and then over the parts, everything is
// added in a fixed order.
#include "common.cuh"

#define CHANNELS 32
#define LANES 8

// The sum over r of this channel's `value`s, on every thread of the channel. All threads call it.
template <class T>
__device__ __forceinline__ T sum_over_lanes(T value, T (&cells)[LANES][CHANNELS]) {
    cells[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    T sum = 0;
    for (int r = 0; r < LANES; r++) sum += cells[r][threadIdx.x];
    __syncthreads();
    return sum;
}

// Mean and m2 of each part: the mean first, then the differences from it.
//   thread   (c, r): rows r, r + 8, ... of channel c
//   block    `share` rows of 32 channels
//   grid     (C / 32, parts) blocks of (32, 8)
//   shared   8 x 32 numbers
//   bytes    x read twice (the second time from the cache), 2 C numbers written a part
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_moments(const real* __restrict__ x, real* __restrict__ parts, int M, int C,
                       int share) {
    __shared__ real cells[LANES][CHANNELS];
    const int c = blockIdx.x * CHANNELS + threadIdx.x;
    const int begin = blockIdx.y * share, end = min(begin + share, M);
    real sum = 0;
    if (c < C)
        for (int row = begin + threadIdx.y; row < end; row += LANES) sum += x[row * C + c];
    const real mean = sum_over_lanes(sum, cells) / real(end - begin);
    real squares = 0;
    if (c < C)
        for (int row = begin + threadIdx.y; row < end; row += LANES) {
            const real d = x[row * C + c] - mean;
            squares += d * d;
        }
    const real m2 = sum_over_lanes(squares, cells);
    if (c < C && threadIdx.y == 0) {
        parts[(blockIdx.y * 2 + 0) * C + c] = mean;
        parts[(blockIdx.y * 2 + 1) * C + c] = m2;
    }
}

// The parts merged into mean and biased variance. With n_p, mean_p and m2_p of the parts,
//
//     mean = (1/M) sum n_p mean_p        M var = sum m2_p + n_p (mean_p - mean)^2
//
// which, unlike (1/M) sum x^2 - mean^2, keeps its digits when the mean is large.
//   thread   (c, r): parts r, r + 8, ... of channel c
//   grid     C / 32 blocks of (32, 8)
//   shared   8 x 32 doubles
//   bytes    2 C numbers read a part, 2 C written
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_merge(const real* __restrict__ parts, real* __restrict__ mean,
                     real* __restrict__ var, int M, int C, int share, int count) {
    __shared__ double cells[LANES][CHANNELS];
    const int c = blockIdx.x * CHANNELS + threadIdx.x;
    double sum = 0;
    if (c < C)
        for (int p = threadIdx.y; p < count; p += LANES)
            sum += min(share, M - p * share) * double(parts[(p * 2 + 0) * C + c]);
    const double centre = sum_over_lanes(sum, cells) / M;
    double squares = 0;
    if (c < C)
        for (int p = threadIdx.y; p < count; p += LANES) {
            const double d = double(parts[(p * 2 + 0) * C + c]) - centre;
            squares += double(parts[(p * 2 + 1) * C + c]) + min(share, M - p * share) * d * d;
        }
    const double m2 = sum_over_lanes(squares, cells);
    if (c < C && threadIdx.y == 0) {
        mean[c] = real(centre);
        var[c] = real(m2 / M);
    }
}

// y = gamma (x - mean) r + beta.
//   thread   one number
//   grid     M C / 256 blocks of 256
//   shared   none
//   bytes    1 number read and 1 written; 4 C more through the caches
extern "C" __global__ void batch_norm_apply(const real* __restrict__ x,
                                            const real* __restrict__ gamma,
                                            const real* __restrict__ beta,
                                            const real* __restrict__ mean,
                                            const real* __restrict__ var, real* __restrict__ y,
                                            int size, int C, real eps) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= size) return;
    const int c = e % C;
    y[e] = (x[e] - mean[c]) * (gamma[c] / sqrt(var[c] + eps)) + beta[c];
}

// Sums of gy and of gy xhat over each part.
//   thread   (c, r): rows r, r + 8, ... of channel c
//   block    `share` rows of 32 channels
//   grid     (C / 32, parts) blocks of (32, 8)
//   shared   8 x 32 numbers
//   bytes    x and gy read once, 2 C numbers written a part
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_grad_sums(const real* __restrict__ gy, const real* __restrict__ x,
                         const real* __restrict__ mean, const real* __restrict__ var,
                         real* __restrict__ parts, int M, int C, int share, real eps) {
    __shared__ real cells[LANES][CHANNELS];
    const int c = blockIdx.x * CHANNELS + threadIdx.x;
    const int begin = blockIdx.y * share, end = min(begin + share, M);
    real plain = 0, weighted = 0;
    if (c < C) {
        const real centre = mean[c], r = 1 / sqrt(var[c] + eps);
        for (int row = begin + threadIdx.y; row < end; row += LANES) {
            const real g = gy[row * C + c];
            plain += g;
            weighted += g * ((x[row * C + c] - centre) * r);
        }
    }
    plain = sum_over_lanes(plain, cells);
    weighted = sum_over_lanes(weighted, cells);
    if (c < C && threadIdx.y == 0) {
        parts[(blockIdx.y * 2 + 0) * C + c] = plain;
        parts[(blockIdx.y * 2 + 1) * C + c] = weighted;
    }
}

// gbeta and ggamma: the parts added up, in double.
//   thread   (c, r): parts r, r + 8, ... of number c of the 2 C
//   grid     2 C / 32 blocks of (32, 8)
//   shared   8 x 32 doubles
//   bytes    2 C numbers read a part, 2 C written
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_grad_merge(const real* __restrict__ parts, real* __restrict__ gbeta,
                          real* __restrict__ ggamma, int C, int count) {
    __shared__ double cells[LANES][CHANNELS];
    const int c = blockIdx.x * CHANNELS + threadIdx.x;
    double sum = 0;
    if (c < 2 * C)
        for (int p = threadIdx.y; p < count; p += LANES) sum += double(parts[p * 2 * C + c]);
    sum = sum_over_lanes(sum, cells);
    real* total = c < C ? gbeta : ggamma;
    if (c < 2 * C && threadIdx.y == 0) total[c % C] = real(sum);
}

// gx in training: gamma r (gy - gbeta / M - xhat ggamma / M).
//   thread   one number
//   grid     M C / 256 blocks of 256
//   shared   none
//   bytes    2 numbers read and 1 written; 5 C more through the caches
extern "C" __global__ void batch_norm_train_grad(const real* __restrict__ gy,
                                                 const real* __restrict__ x,
                                                 const real* __restrict__ gamma,
                                                 const real* __restrict__ mean,
                                                 const real* __restrict__ var,
                                                 const real* __restrict__ gbeta,
                                                 const real* __restrict__ ggamma,
                                                 real* __restrict__ gx, int M, int C, real eps) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= M * C) return;
    const int c = e % C;
    const real r = 1 / sqrt(var[c] + eps), xhat = (x[e] - mean[c]) * r;
    gx[e] = gamma[c] * r * (gy[e] - gbeta[c] / real(M) - xhat * (ggamma[c] / real(M)));
}

// gx in evaluation, the statistics being constants: gamma r gy.
//   thread   one number
//   grid     M C / 256 blocks of 256
//   shared   none
//   bytes    1 number read and 1 written; 2 C more through the caches
extern "C" __global__ void batch_norm_eval_grad(const real* __restrict__ gy,
                                                const real* __restrict__ gamma,
                                                const real* __restrict__ var,
                                                real* __restrict__ gx, int size, int C, real eps) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= size) return;
    const int c = e % C;
    gx[e] = gy[e] * (gamma[c] / sqrt(var[c] + eps));
}

// Moving statistics follow a batch's, of up to four layers: m += rate (b - m).
//   thread   one channel of one layer, mean and variance
//   grid     (largest C / 256, 4) blocks of 256
//   shared   none
//   bytes    4 numbers read and 2 written a channel
extern "C" __global__ void batch_norm_follow(real* __restrict__ mean0, real* __restrict__ var0,
    real* __restrict__ mean1, real* __restrict__ var1, real* __restrict__ mean2,
    real* __restrict__ var2, real* __restrict__ mean3, real* __restrict__ var3,
    const real* __restrict__ seen_mean0, const real* __restrict__ seen_var0,
    const real* __restrict__ seen_mean1, const real* __restrict__ seen_var1,
    const real* __restrict__ seen_mean2, const real* __restrict__ seen_var2,
    const real* __restrict__ seen_mean3, const real* __restrict__ seen_var3, int size0, int size1,
    int size2, int size3, real rate0, real rate1, real rate2, real rate3, real correction0,
    real correction1, real correction2, real correction3) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
#define FOLLOW(k)                                                            \
    if (blockIdx.y == k && c < size##k) {                                    \
        mean##k[c] += rate##k * (seen_mean##k[c] - mean##k[c]);              \
        var##k[c] += rate##k * (seen_var##k[c] * correction##k - var##k[c]); \
    }
    FOLLOW(0) FOLLOW(1) FOLLOW(2) FOLLOW(3)
}
