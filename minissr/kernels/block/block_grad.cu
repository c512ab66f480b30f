// A stream block in training, backward: from gy to gw, ggamma, gbeta and gx.
//
// With g = dL/dh at each number of the convolution (block_point.cuh) and xhat = (z - mean) r,
//
//     gbeta = sum g        ggamma = sum g xhat
//     gz = gamma r (g - gbeta / M - xhat ggamma / M)
//
// and gw, gx are the convolution's gradients from gz. gz is as large as z and is never stored: the
// two kernels that want it compute it from z and gy as they fetch their tiles. The bias before a
// batch norm has no effect and no gradient.
#include "common.cuh"
#include "conv_tile.cuh"
#include "block_point.cuh"

#ifndef INPUT
#define INPUT real
#endif

#define CHANNELS 32
#define LANES 8

// gbeta and ggamma, and the zeros that are gbias. The block that finishes last adds up what all
// left behind, in a fixed order.
//   thread   channel c, every eighth of its block's windows of 2 x 2 pixels
//   block    `share` windows of 32 channels
//   grid     (parts, CO / 32) blocks of (32, 8)
//   shared   2 x 8 x 32 doubles
//   bytes    z and gy read once, 2 CO numbers a block
extern "C" __global__ void __launch_bounds__(256, 2)
    block_grad_sums(const real* __restrict__ gy, const real* __restrict__ z,
                    const real* __restrict__ gamma, const real* __restrict__ beta,
                    const real* __restrict__ mean, const real* __restrict__ var,
                    real* __restrict__ parts, real* __restrict__ gbeta, real* __restrict__ ggamma,
                    real* __restrict__ gbias, unsigned* __restrict__ arrived, int N, int OH, int OW,
                    int CO, int share, real eps, int activation, int pool) {
    __shared__ double cells[2][LANES][CHANNELS];
    const int c = threadIdx.x, q = blockIdx.y * CHANNELS + c;
    // Without a pool the last windows may lie half outside; with one, half windows don't count.
    const int rows = pool == NONE ? ceil_div(OH, 2) : OH / 2;
    const int columns = pool == NONE ? ceil_div(OW, 2) : OW / 2;
    const int begin = blockIdx.x * share, end = min(begin + share, N * rows * columns);
    real plain = 0, weighted = 0;
    if (q < CO) {
        const Norm norm = norm_of(q, gamma, beta, mean, var, eps);
        for (int window = begin + threadIdx.y; window < end; window += LANES) {
            const int j = window % columns * 2, i = window / columns % rows * 2;
            real values[4], grads[4], g[4];
            bool exists[4];
            load_window(z, gy, window / (columns * rows), i, j, q, OH, OW, CO, pool, values, grads,
                        exists);
            window_grads(values, grads, norm, activation, pool, g);
            for (int p = 0; p < 4; p++) {
                if (!exists[p]) continue;
                plain += g[p];
                weighted += g[p] * ((values[p] - norm.mean) * norm.inverse);
            }
        }
    }
    cells[0][threadIdx.y][c] = plain;
    cells[1][threadIdx.y][c] = weighted;
    __syncthreads();
    if (threadIdx.y < 2 && q < CO) {  // row 0 adds gbeta's share, row 1 ggamma's
        real sum = 0;
        for (int r = 0; r < LANES; r++) sum += real(cells[threadIdx.y][r][c]);
        parts[(blockIdx.x * 2 + threadIdx.y) * CO + q] = sum;
    }
    if (!is_last_block(arrived)) return;
    for (int which = 0; which < 2; which++) {
        double sum = 0;
        if (q < CO)
            for (int b = threadIdx.y; b < gridDim.x; b += LANES)
                sum += parts[(b * 2 + which) * CO + q];
        cells[which][threadIdx.y][c] = sum;
    }
    __syncthreads();
    if (threadIdx.y < 2 && q < CO) {
        double sum = 0;
        for (int r = 0; r < LANES; r++) sum += cells[threadIdx.y][r][c];
        real* total = threadIdx.y == 0 ? gbeta : ggamma;
        total[q] = real(sum);
        if (threadIdx.y == 0) gbias[q] = 0;
    }
}

// gz of the four pixels of a window.
struct GradSettings {
    int OH, OW, CO, activation, pool;
    real M;
};
__device__ __forceinline__ void conv_grads(const real* __restrict__ gy, const real* __restrict__ z,
                                           int n, int i, int j, int q, Norm norm, real mean_g,
                                           real mean_gxhat, GradSettings s, real (&gz)[4]) {
    real values[4], grads[4], g[4];
    bool exists[4];
    load_window(z, gy, n, i, j, q, s.OH, s.OW, s.CO, s.pool, values, grads, exists);
    window_grads(values, grads, norm, s.activation, s.pool, g);
    for (int p = 0; p < 4; p++) {
        const real xhat = (values[p] - norm.mean) * norm.inverse;
        gz[p] = exists[p] ? norm.scale * (g[p] - mean_g - xhat * mean_gxhat) : real(0);
    }
}

// gw, in parts (sum_parts of conv_gemm.cu adds them up).
//   thread   one input channel, 4 output channels: their KH x KW x 4 sums, in registers
//   block    32 input and 32 output channels; tiles b, b + blocks, ... of 4 x 16 pixels
//   grid     (blocks, C / 32, CO / 32) blocks of 256
//   shared   the 6 x 18 pixels of x under a tile, 32 channels of each; gz of the tile
//   bytes    a tile reads 108 C numbers of x, 64 CO of z and 16 CO of gy; a block writes KH KW C CO
#define GW_ROWS 4
#define GW_PATCH_ROWS (GW_ROWS + KH - 1)
extern "C" __global__ void __launch_bounds__(256, 2)
    block_weight_grad(const INPUT* __restrict__ x, const real* __restrict__ gy,
                      const real* __restrict__ z, const real* __restrict__ gamma,
                      const real* __restrict__ beta, const real* __restrict__ mean,
                      const real* __restrict__ var, const real* __restrict__ gbeta,
                      const real* __restrict__ ggamma, real* __restrict__ parts, int N, int H,
                      int W, int C, int CO, real eps, int activation, int pool) {
    __shared__ real pixels[CHANNELS][(GW_PATCH_ROWS * PATCH_COLUMNS) | 1];
    __shared__ Four gz[GW_ROWS * TILE_COLUMNS][CHANNELS / 4];
    const int OH = H - KH + 1, OW = W - KW + 1;
    const int across = ceil_div(OW, TILE_COLUMNS), tiles = ceil_div(OH, GW_ROWS) * across;
    const int first_c = blockIdx.y * CHANNELS, first_q = blockIdx.z * CHANNELS;
    const int group = threadIdx.x % (CHANNELS / 4), c = threadIdx.x / (CHANNELS / 4);
    const GradSettings settings = {OH, OW, CO, activation, pool, real(N) * OH * OW};

    // While gz is computed this thread looks after one channel: 32 channels, 8 windows at a time.
    const int q = first_q + threadIdx.x % CHANNELS;
    Norm norm = {};
    real mean_g = 0, mean_gxhat = 0;
    if (q < CO) {
        norm = norm_of(q, gamma, beta, mean, var, eps);
        mean_g = gbeta[q] / settings.M;
        mean_gxhat = ggamma[q] / settings.M;
    }
    real sums[KH * KW][4] = {};
    for (int number = blockIdx.x; number < N * tiles; number += gridDim.x) {
        const int n = number / tiles, top = number % tiles / across * GW_ROWS;
        const int left = number % across * TILE_COLUMNS;
        for (int k = threadIdx.x; k < GW_PATCH_ROWS * PATCH_COLUMNS * CHANNELS; k += 256) {
            const int channel = first_c + k % CHANNELS, pixel = k / CHANNELS;
            const int i = top + pixel / PATCH_COLUMNS, j = left + pixel % PATCH_COLUMNS;
            const bool inside = i < H && j < W && channel < C;
            pixels[k % CHANNELS][pixel] =
                inside ? real(x[((n * H + i) * W + j) * C + channel]) : real(0);
        }
        for (int window = threadIdx.x / CHANNELS; window < GW_ROWS * TILE_COLUMNS / 4;
             window += 256 / CHANNELS) {
            const int i = window / (TILE_COLUMNS / 2) * 2, j = window % (TILE_COLUMNS / 2) * 2;
            real grads[4] = {};
            if (q < CO)
                conv_grads(gy, z, n, top + i, left + j, q, norm, mean_g, mean_gxhat, settings,
                           grads);
            for (int p = 0; p < 4; p++)
                gz[(i + p / 2) * TILE_COLUMNS + j + p % 2][threadIdx.x % CHANNELS / 4]
                    .part[threadIdx.x % 4] = grads[p];
        }
        __syncthreads();
        for (int i = 0; i < GW_ROWS; i++)
            for (int j = 0; j < TILE_COLUMNS; j++) {
                const Four g = gz[i * TILE_COLUMNS + j][group];
#pragma unroll
                for (int u = 0; u < KH; u++)
#pragma unroll
                    for (int v = 0; v < KW; v++) {
                        const real pixel = pixels[c][(i + u) * PATCH_COLUMNS + j + v];
#pragma unroll
                        for (int k = 0; k < 4; k++) sums[u * KW + v][k] += pixel * g.part[k];
                    }
            }
        __syncthreads();
    }
    for (int tap = 0; tap < KH * KW; tap++)
        for (int k = 0; k < 4; k++) {
            const int column = first_q + 4 * group + k;
            if (first_c + c < C && column < CO)
                parts[((blockIdx.x * KH * KW + tap) * C + first_c + c) * CO + column] =
                    sums[tap][k];
        }
}

// gx: the convolution of gz, KH - 1 and KW - 1 zeros around it, with the weights turned by 180
// degrees and transposed. With `add` it is added to what stands in gx already.
//   thread   2 x 2 pixels of 4 input channels
//   block    8 x 16 pixels of one image, 32 input channels
//   grid     (tiles of 8 x 16 pixels, C / 32, N) blocks of 256
//   shared   what a tile needs (conv_tile.cuh)
//   bytes    a block reads 180 CO numbers of z, 45 CO of gy and 288 CO weights, writes 4096 numbers
//            (and reads them, with `add`)
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    block_input_grad(const real* __restrict__ gy, const real* __restrict__ z,
                     const real* __restrict__ w, const real* __restrict__ gamma,
                     const real* __restrict__ beta, const real* __restrict__ mean,
                     const real* __restrict__ var, const real* __restrict__ gbeta,
                     const real* __restrict__ ggamma, real* __restrict__ gx, int N, int H, int W,
                     int C, int CO, real eps, int activation, int pool, int add) {
    __shared__ Patch patch;
    __shared__ Weights weights;
    const int OH = H - KH + 1, OW = W - KW + 1;
    const Tile tile = tile_of(blockIdx.x, blockIdx.z, H, W);
    const int first = blockIdx.y * TILE_CHANNELS;
    const GradSettings settings = {OH, OW, CO, activation, pool, real(N) * OH * OW};
    // The windows that the patch touches; its first pixel may be the second one of a window.
    const int top = tile.top - (KH - 1), left = tile.left - (KW - 1);
    const int first_row = top & ~1, first_column = left & ~1;
    const int rows = (top + PATCH_ROWS - first_row + 1) / 2;
    const int columns = (left + PATCH_COLUMNS - first_column + 1) / 2;

    real sums[4][4] = {};
    for (int q0 = 0; q0 < CO; q0 += SLICE) {
        const int q = q0 + threadIdx.x % SLICE;
        Norm norm = {};
        real mean_g = 0, mean_gxhat = 0;
        if (q < CO) {
            norm = norm_of(q, gamma, beta, mean, var, eps);
            mean_g = gbeta[q] / settings.M;
            mean_gxhat = ggamma[q] / settings.M;
        }
        for (int window = threadIdx.x / SLICE; window < rows * columns;
             window += THREADS / SLICE) {
            const int i = first_row + window / columns * 2;
            const int j = first_column + window % columns * 2;
            real grads[4] = {};
            if (q < CO)
                conv_grads(gy, z, tile.image, i, j, q, norm, mean_g, mean_gxhat, settings, grads);
            for (int p = 0; p < 4; p++) {
                const int r = i + p / 2 - top, s = j + p % 2 - left;
                if (r >= 0 && r < PATCH_ROWS && s >= 0 && s < PATCH_COLUMNS)
                    patch[threadIdx.x % SLICE][r * PATCH_COLUMNS + s] = grads[p];
            }
        }
        for (int k = threadIdx.x; k < KH * KW * SLICE * TILE_CHANNELS; k += THREADS) {
            const int slice = k % SLICE, c = k / SLICE % TILE_CHANNELS;
            const int tap = k / (SLICE * TILE_CHANNELS);
            const bool inside = first + c < C && q0 + slice < CO;
            weights[KH * KW - 1 - tap][slice][c / 4].part[c % 4] =
                inside ? w[(tap * C + first + c) * CO + q0 + slice] : real(0);
        }
        __syncthreads();
        accumulate(patch, weights, min(SLICE, CO - q0), sums);
        __syncthreads();
    }
    for (int p = 0; p < 4; p++) {
        const int i = tile.top + window_row() + p / 2, j = tile.left + window_column() + p % 2;
        if (i >= H || j >= W) continue;
        for (int k = 0; k < 4; k++) {
            const int c = first + 4 * channel_group() + k;
            if (c >= C) continue;
            real* g = gx + ((tile.image * H + i) * W + j) * C + c;
            *g = add ? *g + sums[p][k] : sums[p][k];
        }
    }
}
