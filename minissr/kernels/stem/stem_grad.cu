// The first block of both streams, backward: the gradients of w, gamma and beta, in one launch.
//
// With g the gradient at a pixel of a convolution (from gy and the flags) and q - mean q the patch
// under it, the sums over all pixels D = sum (q - mean q) g and S = sum g are all it takes:
//
//     gbeta = S      ggamma = unit r w . D      gw = unit gamma r (D - unit r ggamma C w)
//
// with r = 1 / sqrt(var + eps); numba_simd.py beside this derives them.
#include "common.cuh"
#include "conv_tile.cuh"
#include "stem_patch.cuh"

#define CHANNELS TILE_CHANNELS
#define LANES (THREADS / CHANNELS)
#define TERMS (TAPS + 1)  // D and S
#define MINE 4            // of them, lane, lane + 8, ..., are a thread's

//   thread   one channel, four of the 28 sums; at the end a sum over blocks
//   block    tiles b, b + blocks, ... of 8 x 16 pixels, 32 channels of one stream
//   grid     (blocks, split / 32 + (CO - split) / 32) blocks of 256
//   shared   10 x 18 pixels, 128 x 33 numbers g; 28 x 33 doubles
//   bytes    a tile reads 540 pixels, 1024 numbers gy, 1024 flags and, for tanh, 1024 numbers y; a
//            block writes 28 x 32 sums
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    stem_grad(const real* __restrict__ g_relu, const real* __restrict__ g_tanh,
              const real* __restrict__ y_tanh, const byte* __restrict__ flags,
              const byte* __restrict__ images, const real* __restrict__ w_relu,
              const real* __restrict__ w_tanh, const real* __restrict__ gamma_relu,
              const real* __restrict__ gamma_tanh, const real* __restrict__ var,
              const real* __restrict__ q_mean, const real* __restrict__ spread, real* parts,
              real* __restrict__ gw_relu, real* __restrict__ gw_tanh,
              real* __restrict__ ggamma_relu, real* __restrict__ ggamma_tanh,
              real* __restrict__ gbeta_relu, real* __restrict__ gbeta_tanh,
              unsigned* __restrict__ arrived, int N, int H, int W, int split, int CO, real unit,
              real eps) {
    __shared__ real pixels[PATCH_ROWS * PATCH_COLUMNS * COLOURS];
    __shared__ real grads[TILE_ROWS * TILE_COLUMNS][CHANNELS + 1];
    const int groups = ceil_div(split, CHANNELS), t = threadIdx.x;
    const bool of_relu = blockIdx.y < groups;
    const int wide = of_relu ? split : CO - split, before = of_relu ? 0 : split;
    const int c = t % CHANNELS, lane = t / CHANNELS;
    const int q = (of_relu ? blockIdx.y : blockIdx.y - groups) * CHANNELS + c;
    // Only whole windows have a gradient.
    const int PH = (H - KH + 1) / 2, PW = (W - KW + 1) / 2;
    const int tiles = ceil_div(2 * PH, TILE_ROWS) * ceil_div(2 * PW, TILE_COLUMNS);

    int place[MINE];
    real middle[MINE], sums[MINE] = {};
    for (int k = 0; k < MINE; k++) {
        const int tap = lane + k * LANES;
        place[k] = tap < TAPS ? tap / ROW_TAPS * PATCH_COLUMNS * COLOURS + tap % ROW_TAPS : -1;
        middle[k] = tap < TAPS ? q_mean[tap] : real(0);
    }
    for (int number = blockIdx.x; number < N * tiles; number += gridDim.x) {
        const Tile tile = tile_of(number % tiles, number / tiles, 2 * PH, 2 * PW);
        fetch_pixels(images, pixels, tile, H, W);
        for (int e = lane; e < TILE_ROWS * TILE_COLUMNS / 4; e += LANES) {
            const int row = e / (TILE_COLUMNS / 2) * 2, column = e % (TILE_COLUMNS / 2) * 2;
            const int i = (tile.top + row) / 2, j = (tile.left + column) / 2;
            real g = 0;
            int passes = 0;
            if (i < PH && j < PW && q < wide) {
                const int window = (tile.image * PH + i) * PW + j;
                passes = flags[window * CO + before + q];
                if (of_relu) {
                    g = g_relu[window * wide + q] * real(0.25);
                } else {
                    const real y = y_tanh[window * wide + q];
                    g = g_tanh[window * wide + q] * (1 - y * y);
                }
            }
            for (int p = 0; p < 4; p++)
                grads[(row + p / 2) * TILE_COLUMNS + column + p % 2][c] =
                    passes >> p & 1 ? g : real(0);
        }
        __syncthreads();
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_COLUMNS; j++) {
                const real g = grads[i * TILE_COLUMNS + j][c];
                const real* window = pixels + (i * PATCH_COLUMNS + j) * COLOURS;
                for (int k = 0; k < MINE; k++)
                    sums[k] += place[k] < 0 ? g : g * (window[place[k]] - middle[k]);
            }
        __syncthreads();
    }
    for (int k = 0; k < MINE; k++)
        if (lane + k * LANES < TERMS && q < wide)
            parts[(blockIdx.x * TERMS + lane + k * LANES) * CO + before + q] = sums[k];
    if (!is_last_block(arrived)) return;

    __shared__ double totals[TERMS][CHANNELS + 1];
    __shared__ double factors[2][CHANNELS];
    for (int term = lane; term < TERMS; term += LANES) {
        double sum = 0;
        for (int b = 0; q < wide && b < gridDim.x; b++)
            sum += parts[(b * TERMS + term) * CO + before + q];
        totals[term][c] = sum;
    }
    __syncthreads();
    if (lane == 0 && q < wide) {
        const double r = 1 / sqrt(double(var[before + q]) + eps);
        double product = 0;
        for (int tap = 0; tap < TAPS; tap++)
            product += weight_of(w_relu, w_tanh, tap, before + q, split, CO) * totals[tap][c];
        const double of_gamma = unit * r * product;
        (of_relu ? ggamma_relu : ggamma_tanh)[q] = real(of_gamma);
        (of_relu ? gbeta_relu : gbeta_tanh)[q] = real(totals[TAPS][c]);
        factors[0][c] = unit * r * (of_relu ? gamma_relu : gamma_tanh)[q];
        factors[1][c] = unit * r * of_gamma;
    }
    __syncthreads();
    for (int tap = lane; q < wide && tap < TAPS; tap += LANES)
        (of_relu ? gw_relu : gw_tanh)[tap * wide + q] = real(
            factors[0][c] * (totals[tap][c] - factors[1][c] * spread[tap * CO + before + q]));
}
