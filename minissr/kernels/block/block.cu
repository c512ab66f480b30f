// A stream block forward: convolution, batch norm, activation, 2x2 pooling.
//
// In training, batch norm needs the statistics of the whole batch before any number can be
// normalised, so there are two launches: one computes the convolution and its statistics, one does
// all the rest. For an answer the statistics are given, and one launch does everything.
#include "common.cuh"
#include "conv_tile.cuh"
#include "block_point.cuh"

#ifndef INPUT
#define INPUT real
#endif

// Sums over the pixels of the block, of four numbers a thread: thread t gets the sum for channel
// t % 32 of the tile.
#define CELLS (THREADS / (TILE_CHANNELS / 4))
__device__ __forceinline__ real channel_sum(const real (&values)[4],
                                            real (&cells)[CELLS][TILE_CHANNELS + 1]) {
    for (int k = 0; k < 4; k++)
        cells[threadIdx.x / (TILE_CHANNELS / 4)][4 * channel_group() + k] = values[k];
    __syncthreads();
    real sum = 0;
    for (int r = 0; r < CELLS; r++) sum += cells[r][threadIdx.x % TILE_CHANNELS];
    __syncthreads();
    return sum;
}

// How many pixels of a tile exist.
__device__ __forceinline__ int pixels_of(Tile tile, int OH, int OW) {
    return min(TILE_ROWS, OH - tile.top) * min(TILE_COLUMNS, OW - tile.left);
}

// z = conv(x) + bias, and mean and biased variance of each channel of z.
//
// A block adds up v - shift and (v - shift)^2, v its numbers and shift the mean of its first tile:
// so nearly nothing cancels. The block that finishes last merges what all left behind, in a fixed
// order, by the formulas of batch_norm.cu.
//   thread   2 x 2 pixels of 4 channels of each of its block's tiles
//   block    tiles b, b + blocks, ... of 8 x 16 pixels, 32 channels
//   grid     (blocks, CO / 32) blocks of 256
//   shared   what a tile needs (conv_tile.cuh) and 32 x 33 numbers
//   bytes    as conv3x3_blocked, and 3 CO numbers a block
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    block_convolve(const INPUT* __restrict__ x, const real* __restrict__ w,
                   const real* __restrict__ bias, real* __restrict__ z, real* __restrict__ parts,
                   real* __restrict__ mean, real* __restrict__ var, unsigned* __restrict__ arrived,
                   int N, int H, int W, int C, int CO) {
    __shared__ Patch patch;
    __shared__ Weights weights;
    __shared__ real cells[CELLS][TILE_CHANNELS + 1];
    __shared__ real shift[TILE_CHANNELS];
    const int OH = H - KH + 1, OW = W - KW + 1;
    const int tiles = ceil_div(OH, TILE_ROWS) * ceil_div(OW, TILE_COLUMNS);
    const int first = blockIdx.y * TILE_CHANNELS, q0 = first + 4 * channel_group();

    real sum[4] = {}, square[4] = {};
    int count = 0;
    for (int number = blockIdx.x; number < N * tiles; number += gridDim.x) {
        const Tile tile = tile_of(number % tiles, number / tiles, OH, OW);
        real values[4][4];
        convolve(x, w, patch, weights, tile, first, H, W, C, CO, values);
        bool exists[4];
        real total[4] = {};
        for (int p = 0; p < 4; p++) {
            const int i = tile.top + window_row() + p / 2, j = tile.left + window_column() + p % 2;
            exists[p] = i < OH && j < OW;
            for (int k = 0; k < 4; k++) {
                if (!exists[p] || q0 + k >= CO) continue;
                values[p][k] += bias[q0 + k];
                total[k] += values[p][k];
                z[((tile.image * OH + i) * OW + j) * CO + q0 + k] = values[p][k];
            }
        }
        if (count == 0) {
            const real all = channel_sum(total, cells);
            if (threadIdx.x < TILE_CHANNELS)
                shift[threadIdx.x] = all / real(pixels_of(tile, OH, OW));
            __syncthreads();
        }
        count += pixels_of(tile, OH, OW);
        for (int p = 0; p < 4; p++)
            for (int k = 0; k < 4; k++) {
                const real d = values[p][k] - shift[4 * channel_group() + k];
                sum[k] += exists[p] ? d : real(0);
                square[k] += exists[p] ? d * d : real(0);
            }
    }
    const real moved = channel_sum(sum, cells), squares = channel_sum(square, cells);
    const int q = first + threadIdx.x;
    if (threadIdx.x < TILE_CHANNELS && q < CO) {
        parts[(blockIdx.x * 3 + 0) * CO + q] = real(count);
        parts[(blockIdx.x * 3 + 1) * CO + q] = shift[threadIdx.x] + moved / real(count);
        parts[(blockIdx.x * 3 + 2) * CO + q] = squares - moved * moved / real(count);
    }
    if (!is_last_block(arrived)) return;
    // Thread (channel c, lane r) takes parts r, r + 8, ...
    __shared__ double merged[THREADS];
    const int c = threadIdx.x % TILE_CHANNELS, channel = first + c;
    const int lane = threadIdx.x / TILE_CHANNELS, lanes = THREADS / TILE_CHANNELS;
    const double M = double(N) * OH * OW;
    double result[2];
    for (int step = 0; step < 2; step++) {  // the mean, then the variance around it
        double part = 0;
        if (channel < CO)
            for (int b = lane; b < gridDim.x; b += lanes) {
                const double n = parts[(b * 3 + 0) * CO + channel];
                const double m = parts[(b * 3 + 1) * CO + channel];
                const double d = m - result[0];
                part += step == 0 ? n * m : double(parts[(b * 3 + 2) * CO + channel]) + n * d * d;
            }
        merged[threadIdx.x] = part;
        __syncthreads();
        double all = 0;
        for (int r = 0; r < lanes; r++) all += merged[r * TILE_CHANNELS + c];
        result[step] = all / M;
        __syncthreads();
    }
    if (lane == 0 && channel < CO) {
        mean[channel] = real(result[0]);
        var[channel] = real(result[1]);
    }
}

// y = pool(activation(batch norm(z))).
//   thread   one output (n, i, j, q)
//   grid     N PH PW CO / 256 blocks of 256
//   shared   none
//   bytes    an output reads the 4 numbers of its window (1 without a pool) and is written once
extern "C" __global__ void block_activate(const real* __restrict__ z,
                                          const real* __restrict__ gamma,
                                          const real* __restrict__ beta,
                                          const real* __restrict__ mean,
                                          const real* __restrict__ var, real* __restrict__ y,
                                          int outputs, int OH, int OW, int CO, real eps,
                                          int activation, int pool) {
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= outputs) return;
    const int q = output % CO;
    const Norm norm = norm_of(q, gamma, beta, mean, var, eps);
    if (pool == NONE) {
        y[output] = activated(z[output], norm, activation);
        return;
    }
    const int PH = OH / 2, PW = OW / 2;
    const int j = output / CO % PW * 2, i = output / (CO * PW) % PH * 2;
    const int n = output / (CO * PW * PH);
    real a[4];
    for (int p = 0; p < 4; p++)
        a[p] = activated(z[((n * OH + i + p / 2) * OW + j + p % 2) * CO + q], norm, activation);
    y[output] = pool == AVG ? (a[0] + a[1] + a[2] + a[3]) * real(0.25) : a[first_maximum(a)];
}

// y of given statistics: the batch norm, an affine map a channel, the activation and the pool are
// applied where the convolution is, in registers.
//   thread   2 x 2 pixels, that is one window, of 4 channels
//   block    8 x 16 pixels of one image, 32 channels
//   grid     (tiles of 8 x 16 pixels, CO / 32, N) blocks of 256
//   shared   what a tile needs (conv_tile.cuh)
//   bytes    a block reads 180 C numbers of x and 288 C weights, writes 1024 numbers (4096
//            unpooled)
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    block_answer(const INPUT* __restrict__ x, const real* __restrict__ w,
                 const real* __restrict__ bias, const real* __restrict__ gamma,
                 const real* __restrict__ beta, const real* __restrict__ mean,
                 const real* __restrict__ var, real* __restrict__ y, int H, int W, int C, int CO,
                 real eps, int activation, int pool) {
    __shared__ Patch patch;
    __shared__ Weights weights;
    const int OH = H - KH + 1, OW = W - KW + 1, first = blockIdx.y * TILE_CHANNELS;
    const Tile tile = tile_of(blockIdx.x, blockIdx.z, OH, OW);
    real values[4][4];
    convolve(x, w, patch, weights, tile, first, H, W, C, CO, values);
    const int i = tile.top + window_row(), j = tile.left + window_column(), n = tile.image;
    for (int k = 0; k < 4; k++) {
        const int q = first + 4 * channel_group() + k;
        if (q >= CO) continue;
        Norm norm = norm_of(q, gamma, beta, mean, var, eps);
        norm.mean -= bias[q];
        real a[4];
        for (int p = 0; p < 4; p++) a[p] = activated(values[p][k], norm, activation);
        if (pool == NONE) {
            for (int p = 0; p < 4; p++)
                if (i + p / 2 < OH && j + p % 2 < OW)
                    y[((n * OH + i + p / 2) * OW + j + p % 2) * CO + q] = a[p];
        } else if (i + 1 < OH && j + 1 < OW) {
            y[((n * (OH / 2) + i / 2) * (OW / 2) + j / 2) * CO + q] =
                pool == AVG ? (a[0] + a[1] + a[2] + a[3]) * real(0.25) : a[first_maximum(a)];
        }
    }
}
