// Convolution of any size, stride and padding as a matrix product that never writes its matrix.
//
// Lay every window of the input out as a row of K = KH KW C numbers: the rows of all N OH OW
// windows are a matrix X~, the weights (KH, KW, C, CO) are already a K x CO matrix, and
//
//     forward          y  = X~ w                   M = N OH OW rows, CO columns, K products each
//     weight gradient  gw = X~^T gy                K rows, CO columns, M products each
//     input gradient   gx = G~ w^T                 N H W rows, C columns, KH KW CO products each
//
// where row (n, h, w) of G~ holds the gy of every window that pixel (h, w) lies in, by tap. X~ is
// KH KW times the size of x, so it is not stored: its numbers are looked up in x when a tile of it
// is fetched. A dense layer is the case H = W = KH = KW = 1.
//
// One tiled product serves all three. A block of 128 threads computes a tile of 64 rows and 32
// columns, 16 products at a time through shared memory; each thread 4 rows and 4 columns, so that
// 8 numbers from shared memory serve 16 multiply-adds.
#include "common.cuh"

#define ROWS 64
#define COLUMNS 32
#define DEPTH 16
#define GEMM_THREADS 128
typedef Four Left[DEPTH][ROWS / 4 + 1];  // one more: the stores of a warp fall into more banks
typedef Four Right[DEPTH][COLUMNS / 4];

__device__ __forceinline__ void multiply(const Left& left, const Right& right, real (&sums)[4][4]) {
    const int row = threadIdx.x / (COLUMNS / 4), column = threadIdx.x % (COLUMNS / 4);
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
        const Four a = left[d][row], b = right[d][column];
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
            for (int k = 0; k < 4; k++) sums[r][k] += a.part[r] * b.part[k];
    }
}

// Where a window lies on its image.
struct Geometry {
    int H, W, C, OH, OW, CO, KH, KW, SH, SW, top, left;
};

// Number (window, tap and channel k) of X~.
__device__ __forceinline__ real input_at(const real* __restrict__ x, const Geometry& g, int window,
                                         int k) {
    const int c = k % g.C, v = k / g.C % g.KW, u = k / (g.C * g.KW);
    const int j = window % g.OW, i = window / g.OW % g.OH, n = window / (g.OW * g.OH);
    const int h = i * g.SH + u - g.top, w = j * g.SW + v - g.left;
    const bool inside = h >= 0 && h < g.H && w >= 0 && w < g.W;
    return inside ? x[((n * g.H + h) * g.W + w) * g.C + c] : real(0);
}

// Number (pixel, tap and channel k) of G~: 0 where no window has its tap (u, v) on that pixel.
__device__ __forceinline__ real output_grad_at(const real* __restrict__ gy, const Geometry& g,
                                               int pixel, int k) {
    const int q = k % g.CO, v = k / g.CO % g.KW, u = k / (g.CO * g.KW);
    const int w = pixel % g.W, h = pixel / g.W % g.H, n = pixel / (g.W * g.H);
    const int row = h + g.top - u, column = w + g.left - v;
    if (row < 0 || column < 0 || row % g.SH || column % g.SW) return real(0);
    const int i = row / g.SH, j = column / g.SW;
    return i < g.OH && j < g.OW ? gy[((n * g.OH + i) * g.OW + j) * g.CO + q] : real(0);
}

// y = X~ w + bias.
//   thread   4 windows and 4 output channels
//   block    64 windows and 32 output channels
//   grid     (M / 64, CO / 32) blocks of 128
//   shared   16 x 64 numbers of X~ and 16 x 32 of w
//   bytes    a block reads 64 K numbers of x (through the caches; windows overlap) and 32 K
//            weights, and writes 2048 numbers
extern "C" __global__ void __launch_bounds__(GEMM_THREADS)
    conv_gemm_forward(const real* __restrict__ x, const real* __restrict__ w,
                      const real* __restrict__ bias, real* __restrict__ y, int windows, int H,
                      int W, int C, int OH, int OW, int CO, int KH, int KW, int SH, int SW, int top,
                      int left) {
    __shared__ Left left_tile;
    __shared__ Right right_tile;
    const Geometry g = {H, W, C, OH, OW, CO, KH, KW, SH, SW, top, left};
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    const int K = KH * KW * C;
    real sums[4][4] = {};
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        for (int e = threadIdx.x; e < ROWS * DEPTH; e += GEMM_THREADS) {
            const int k = k0 + e % DEPTH, r = e / DEPTH;  // neighbours read neighbouring channels
            left_tile[e % DEPTH][r / 4].part[r % 4] =
                k < K && first_row + r < windows ? input_at(x, g, first_row + r, k) : real(0);
        }
        for (int e = threadIdx.x; e < COLUMNS * DEPTH; e += GEMM_THREADS) {
            const int k = k0 + e / COLUMNS, q = e % COLUMNS;
            right_tile[e / COLUMNS][q / 4].part[q % 4] =
                k < K && first_column + q < CO ? w[k * CO + first_column + q] : real(0);
        }
        __syncthreads();
        multiply(left_tile, right_tile, sums);
        __syncthreads();
    }
    for (int r = 0; r < 4; r++)
        for (int k = 0; k < 4; k++) {
            const int window = first_row + threadIdx.x / (COLUMNS / 4) * 4 + r;
            const int q = first_column + threadIdx.x % (COLUMNS / 4) * 4 + k;
            if (window < windows && q < CO)
                y[window * CO + q] = sums[r][k] + (bias ? bias[q] : real(0));
        }
}

// gx = G~ w^T.
//   thread   4 pixels and 4 input channels
//   block    64 pixels and 32 input channels
//   grid     (N H W / 64, C / 32) blocks of 128
//   shared   16 x 64 numbers of G~ and 16 x 32 of w^T
//   bytes    a block reads 64 KH KW CO numbers of gy through the caches and 32 KH KW CO weights,
//            and writes 2048 numbers
extern "C" __global__ void __launch_bounds__(GEMM_THREADS)
    conv_gemm_input_grad(const real* __restrict__ gy, const real* __restrict__ w,
                         real* __restrict__ gx, int pixels, int H, int W, int C, int OH, int OW,
                         int CO, int KH, int KW, int SH, int SW, int top, int left) {
    __shared__ Left left_tile;
    __shared__ Right right_tile;
    const Geometry g = {H, W, C, OH, OW, CO, KH, KW, SH, SW, top, left};
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    const int K = KH * KW * CO;
    real sums[4][4] = {};
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        for (int e = threadIdx.x; e < ROWS * DEPTH; e += GEMM_THREADS) {
            const int k = k0 + e % DEPTH, r = e / DEPTH;
            left_tile[e % DEPTH][r / 4].part[r % 4] =
                k < K && first_row + r < pixels ? output_grad_at(gy, g, first_row + r, k) : real(0);
        }
        for (int e = threadIdx.x; e < COLUMNS * DEPTH; e += GEMM_THREADS) {
            // w^T: row (u, v, q), column c. Neighbours read neighbouring q.
            const int k = k0 + e % DEPTH, c = first_column + e / DEPTH;
            right_tile[e % DEPTH][e / DEPTH / 4].part[e / DEPTH % 4] =
                k < K && c < C ? w[(k / CO * C + c) * CO + k % CO] : real(0);
        }
        __syncthreads();
        multiply(left_tile, right_tile, sums);
        __syncthreads();
    }
    for (int r = 0; r < 4; r++)
        for (int k = 0; k < 4; k++) {
            const int pixel = first_row + threadIdx.x / (COLUMNS / 4) * 4 + r;
            const int c = first_column + threadIdx.x % (COLUMNS / 4) * 4 + k;
            if (pixel < pixels && c < C) gx[pixel * C + c] = sums[r][k];
        }
}

// gw = X~^T gy, in parts: part p sums over the windows p, p + 1, ... of its share, and
// `sum_parts` adds the parts up. A single block a tile would leave most of the device idle, since
// gw has few numbers and each is a sum over all windows of the batch.
//   thread   4 rows and 4 output channels
//   block    64 rows (tap and channel) and 32 output channels, over `share` windows
//   grid     (K / 64, CO / 32, parts) blocks of 128
//   shared   16 x 64 numbers of X~ and 16 x 32 of gy
//   bytes    a block reads 64 numbers of x and 32 of gy a window, and writes 2048 numbers
extern "C" __global__ void __launch_bounds__(GEMM_THREADS)
    conv_gemm_weight_grad(const real* __restrict__ x, const real* __restrict__ gy,
                          real* __restrict__ parts, int windows, int share, int H, int W, int C,
                          int OH, int OW, int CO, int KH, int KW, int SH, int SW, int top,
                          int left) {
    __shared__ Left left_tile;
    __shared__ Right right_tile;
    const Geometry g = {H, W, C, OH, OW, CO, KH, KW, SH, SW, top, left};
    const int first_row = blockIdx.x * ROWS, first_column = blockIdx.y * COLUMNS;
    const int K = KH * KW * C;
    const int begin = blockIdx.z * share, end = min(begin + share, windows);
    real sums[4][4] = {};
    for (int m0 = begin; m0 < end; m0 += DEPTH) {
        for (int e = threadIdx.x; e < ROWS * DEPTH; e += GEMM_THREADS) {
            const int m = m0 + e / ROWS, k = first_row + e % ROWS;
            left_tile[e / ROWS][e % ROWS / 4].part[e % 4] =
                m < end && k < K ? input_at(x, g, m, k) : real(0);
        }
        for (int e = threadIdx.x; e < COLUMNS * DEPTH; e += GEMM_THREADS) {
            const int m = m0 + e / COLUMNS, q = first_column + e % COLUMNS;
            right_tile[e / COLUMNS][e % COLUMNS / 4].part[e % 4] =
                m < end && q < CO ? gy[m * CO + q] : real(0);
        }
        __syncthreads();
        multiply(left_tile, right_tile, sums);
        __syncthreads();
    }
    for (int r = 0; r < 4; r++)
        for (int k = 0; k < 4; k++) {
            const int row = first_row + threadIdx.x / (COLUMNS / 4) * 4 + r;
            const int q = first_column + threadIdx.x % (COLUMNS / 4) * 4 + k;
            if (row < K && q < CO) parts[(blockIdx.z * K + row) * CO + q] = sums[r][k];
        }
}

// total[e] = parts[0][e] + parts[1][e] + ..., always in this order.
//   thread   one number
//   grid     size / 128 blocks of 128
//   shared   none
//   bytes    count x size numbers read, size written
extern "C" __global__ void sum_parts(const real* __restrict__ parts, real* __restrict__ total,
                                     int count, int size) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= size) return;
    real sum = 0;
    for (int p = 0; p < count; p++) sum += parts[p * size + e];
    total[e] = sum;
}
