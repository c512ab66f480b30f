// 3x3 convolution, stride 1, no padding: the same sum in three versions.
//
//     y[n,i,j,q] = bias[q] + sum_{u,v,c} x[n, i + u, j + v, c] w[u,v,c,q]
//
// Read them in order. The first says what is computed. The second shows that every pixel and weight
// is used many times, and fetches it from memory once for a whole block. The third gives each
// thread a small square of the result, so that a value fetched from shared memory is used several
// times as well. minissr runs the third; the others are here to be read and are checked alike.
#include "common.cuh"
#include "conv_tile.cuh"

// Version 1, naive.
//   thread   one output (n, i, j, q); neighbouring threads have neighbouring channels q
//   grid     N OH OW CO / 256 blocks of 256
//   shared   none
//   bytes    every output: 9 C pixels (the same for a warp's 32 channels) and 9 C weights read
//            through the caches, 1 number written
extern "C" __global__ void conv3x3_naive(const real* __restrict__ x, const real* __restrict__ w,
                                         const real* __restrict__ bias, real* __restrict__ y, int N,
                                         int H, int W, int C, int CO) {
    const int OH = H - 2, OW = W - 2;
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= N * OH * OW * CO) return;
    const int q = output % CO, j = output / CO % OW, i = output / (CO * OW) % OH;
    const int n = output / (CO * OW * OH);

    real sum = bias ? bias[q] : real(0);
    for (int u = 0; u < 3; u++)
        for (int v = 0; v < 3; v++)
            for (int c = 0; c < C; c++)
                sum += x[((n * H + i + u) * W + j + v) * C + c] * w[((u * 3 + v) * C + c) * CO + q];
    y[output] = sum;
}

// Version 2, tiled.
//   thread   one output
//   block    4 x 8 pixels of one image and 8 channels of the result
//   grid     (tiles of 4 x 8 pixels, CO / 8, N) blocks of (8, 8, 4): channel, column, row
//   shared   the 6 x 10 pixels under the tile and the weights, 8 input channels at a time
//   bytes    a block reads 6 x 10 C pixels and 72 C weights once, 1.9 pixels and 2.2 weights an
//            output and input channel where version 1 reads 9 and 9
#define TILED_ROWS 4
#define TILED_COLUMNS 8
#define TILED_CHANNELS 8
#define TILED_SLICE 8
extern "C" __global__ void __launch_bounds__(256)
    conv3x3_tiled(const real* __restrict__ x, const real* __restrict__ w,
                  const real* __restrict__ bias, real* __restrict__ y, int N, int H, int W, int C,
                  int CO) {
    __shared__ real pixels[TILED_ROWS + 2][TILED_COLUMNS + 2][TILED_SLICE];
    __shared__ real weights[9][TILED_SLICE][TILED_CHANNELS];
    const int OH = H - 2, OW = W - 2, n = blockIdx.z;
    const int across = ceil_div(OW, TILED_COLUMNS);
    const int top = blockIdx.x / across * TILED_ROWS, left = blockIdx.x % across * TILED_COLUMNS;
    const int i = top + threadIdx.z, j = left + threadIdx.y;
    const int first = blockIdx.y * TILED_CHANNELS, q = first + threadIdx.x;
    const int thread = (threadIdx.z * TILED_COLUMNS + threadIdx.y) * TILED_CHANNELS + threadIdx.x;

    real sum = bias && q < CO ? bias[q] : real(0);
    for (int c0 = 0; c0 < C; c0 += TILED_SLICE) {
        // All 256 threads fetch, whichever output they own; beyond the edges there are zeros.
        for (int k = thread; k < (TILED_ROWS + 2) * (TILED_COLUMNS + 2) * TILED_SLICE; k += 256) {
            const int c = k % TILED_SLICE, column = k / TILED_SLICE % (TILED_COLUMNS + 2);
            const int row = k / (TILED_SLICE * (TILED_COLUMNS + 2));
            const bool inside = top + row < H && left + column < W && c0 + c < C;
            pixels[row][column][c] =
                inside ? x[((n * H + top + row) * W + left + column) * C + c0 + c] : real(0);
        }
        for (int k = thread; k < 9 * TILED_SLICE * TILED_CHANNELS; k += 256) {
            const int channel = k % TILED_CHANNELS, c = k / TILED_CHANNELS % TILED_SLICE;
            const int tap = k / (TILED_CHANNELS * TILED_SLICE);
            const bool inside = first + channel < CO && c0 + c < C;
            weights[tap][c][channel] =
                inside ? w[(tap * C + c0 + c) * CO + first + channel] : real(0);
        }
        __syncthreads();  // nobody computes before everything is fetched
        for (int u = 0; u < 3; u++)
            for (int v = 0; v < 3; v++)
                for (int c = 0; c < TILED_SLICE; c++)
                    sum += pixels[threadIdx.z + u][threadIdx.y + v][c] *
                           weights[u * 3 + v][c][threadIdx.x];
        __syncthreads();  // nobody fetches the next slice before everybody has used this one
    }
    if (i < OH && j < OW && q < CO) y[((n * OH + i) * OW + j) * CO + q] = sum;
}

// Version 3, register-blocked (conv_tile.cuh has the tile, which the stream blocks share).
//   thread   2 x 2 pixels of 4 channels: 16 sums in registers; per input channel 16 pixels and
//            9 x 4 weights come from shared memory for 144 multiply-adds
//   block    8 x 16 pixels of one image, 32 channels
//   grid     (tiles of 8 x 16 pixels, CO / 32, N) blocks of 256
//   shared   the 10 x 18 pixels under the tile and the weights, 8 input channels at a time
//   bytes    a block reads 180 C pixels and 288 C weights once (1.4 and 2.3 an output pixel and
//            input channel, for all 32 channels together) and writes 4096 numbers
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    conv3x3_blocked(const real* __restrict__ x, const real* __restrict__ w,
                    const real* __restrict__ bias, real* __restrict__ y, int N, int H, int W, int C,
                    int CO) {
    __shared__ Patch patch;
    __shared__ Weights weights;
    const int OH = H - 2, OW = W - 2;
    const Tile tile = tile_of(blockIdx.x, blockIdx.z, OH, OW);
    const int first = blockIdx.y * TILE_CHANNELS;

    real sums[4][4];
    convolve(x, w, patch, weights, tile, first, H, W, C, CO, sums);
    const int q = first + 4 * channel_group();
    for (int p = 0; p < 4; p++) {
        const int i = tile.top + window_row() + p / 2, j = tile.left + window_column() + p % 2;
        if (i >= OH || j >= OW) continue;
        for (int k = 0; k < 4; k++)
            if (q + k < CO)
                y[((tile.image * OH + i) * OW + j) * CO + q + k] =
                    sums[p][k] + (bias ? bias[q + k] : real(0));
    }
}
