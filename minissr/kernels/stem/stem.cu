// The first block of both streams in training, forward, without ever storing a convolution.
//
// z = w . q is linear in the patch q of the 27 pixels under a window. So the statistics of z follow
// from the patches' mean and covariance C (numba_simd.py beside this has the derivation), and one
// launch that looks at pixels alone replaces the pass over the largest array of the network:
//
//     mean z = w . mean q        var z = w . C w
//
// A second launch computes z in tiles, normalises, activates and pools it where it is. Backward
// (stem_grad.cu) wants the pooled maps, a byte of flags for each of their numbers, and C w.
#include "common.cuh"
#include "conv_tile.cuh"
#include "block_point.cuh"
#include "stem_patch.cuh"

#define PAIRS (TAPS * (TAPS + 1) / 2)  // of taps a <= b
#define MOMENTS (PAIRS + TAPS)         // the sums of their products, and of the taps
#define COLUMNS_AT_ONCE 32             // of C w
#define LARGEST_TILE (TILE_ROWS * TILE_COLUMNS)

// Where tap 0 .. 26 lies in a patch of pixels, counted from the window's first pixel.
__device__ __forceinline__ int tap_place(int tap) {
    return tap / ROW_TAPS * PATCH_COLUMNS * COLOURS + tap % ROW_TAPS;
}

// Sums of q and q q^T over all windows, and from them, in the block that finishes last, the
// statistics of both convolutions. Pixels are integers and so are the sums: exact.
//   thread   two of the 405 sums; at the end a number of C w, then a channel
//   block    tiles b, b + blocks, ... of 8 x 16 windows
//   grid     `blocks` blocks of 256
//   shared   10 x 18 pixels; 27 x 27 and 27 x 33 doubles
//   bytes    a tile reads 540 pixels; a block writes 405 doubles, the last one reads all of them
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    stem_moments(const byte* __restrict__ images, const real* __restrict__ w_relu,
                 const real* __restrict__ w_tanh, const real* __restrict__ bias_relu,
                 const real* __restrict__ bias_tanh, double* parts, real* __restrict__ mean,
                 real* __restrict__ var, real* __restrict__ centre, real* __restrict__ q_mean,
                 real* __restrict__ spread, unsigned* __restrict__ arrived, int N, int H, int W,
                 int split, int CO, real unit, real offset) {
    __shared__ int pixels[PATCH_ROWS * PATCH_COLUMNS * COLOURS];
    const int OH = H - KH + 1, OW = W - KW + 1, t = threadIdx.x;
    const int tiles = ceil_div(OH, TILE_ROWS) * ceil_div(OW, TILE_COLUMNS);
    // This thread's sums: t and t + 256, each a product of two taps, or one tap.
    int first[2], second[2];
    for (int k = 0; k < 2; k++) {
        const int moment = t + k * THREADS;
        int a = 0, b = moment;
        while (a < TAPS && b >= TAPS - a) b -= TAPS - a++;  // row a of the triangle has TAPS - a
        first[k] = moment < PAIRS ? tap_place(a) : tap_place(min(moment - PAIRS, TAPS - 1));
        second[k] = moment < PAIRS ? tap_place(a + b) : -1;
    }
    unsigned long long sums[2] = {};
    for (int number = blockIdx.x; number < N * tiles; number += gridDim.x) {
        const Tile tile = tile_of(number % tiles, number / tiles, OH, OW);
        fetch_pixels(images, pixels, tile, H, W);
        __syncthreads();
        const int rows = min(TILE_ROWS, OH - tile.top), columns = min(TILE_COLUMNS, OW - tile.left);
        for (int k = 0; k < 2; k++) {
            unsigned sum = 0;  // of at most 128 products below 2^16
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < columns; j++) {
                    const int* window = pixels + (i * PATCH_COLUMNS + j) * COLOURS;
                    sum += window[first[k]] * (second[k] < 0 ? 1 : window[second[k]]);
                }
            sums[k] += sum;
        }
        __syncthreads();
    }
    for (int k = 0; k < 2; k++)
        if (t + k * THREADS < MOMENTS) parts[blockIdx.x * MOMENTS + t + k * THREADS] = sums[k];
    if (!is_last_block(arrived)) return;

    __shared__ double average[TAPS], covariance[TAPS][TAPS];
    __shared__ double columns_of[TAPS][COLUMNS_AT_ONCE + 1];
    const double M = double(N) * OH * OW;
    double totals[2];
    for (int k = 0; k < 2; k++) {
        const int moment = t + k * THREADS;
        totals[k] = 0;
        for (int b = 0; moment < MOMENTS && b < gridDim.x; b++)
            totals[k] += parts[b * MOMENTS + moment];
        if (moment >= PAIRS && moment < MOMENTS) average[moment - PAIRS] = totals[k] / M;
    }
    __syncthreads();
    for (int k = 0; k < 2; k++) {
        if (t + k * THREADS >= PAIRS) continue;
        int a = 0, b = t + k * THREADS;
        while (b >= TAPS - a) b -= TAPS - a++;
        b += a;
        covariance[a][b] = covariance[b][a] = totals[k] / M - average[a] * average[b];
    }
    if (t < TAPS) q_mean[t] = real(average[t]);
    for (int start = 0; start < CO; start += COLUMNS_AT_ONCE) {
        __syncthreads();
        for (int e = t; e < TAPS * COLUMNS_AT_ONCE; e += THREADS) {
            const int tap = e / COLUMNS_AT_ONCE, q = start + e % COLUMNS_AT_ONCE;
            double sum = 0;
            for (int b = 0; q < CO && b < TAPS; b++)
                sum += covariance[tap][b] * double(weight_of(w_relu, w_tanh, b, q, split, CO));
            columns_of[tap][e % COLUMNS_AT_ONCE] = sum;
            if (q < CO) spread[tap * CO + q] = real(sum);
        }
        __syncthreads();
        const int q = start + t;
        if (t < COLUMNS_AT_ONCE && q < CO) {
            double middle = 0, square = 0, total = 0;
            for (int tap = 0; tap < TAPS; tap++) {
                const double w = weight_of(w_relu, w_tanh, tap, q, split, CO);
                middle += w * average[tap];
                square += w * columns_of[tap][t];
                total += w;
            }
            const double bias = q < split ? bias_relu[q] : bias_tanh[q - split];
            centre[q] = real(middle);  // of the convolution of plain pixels
            mean[q] = real(unit * middle + offset * total + bias);
            var[q] = real(double(unit) * unit * (square > 0 ? square : 0));
        }
    }
}

// Both pooled maps, and the flags: bit p tells whether pixel p of a window passes the gradient.
//   thread   2 x 2 pixels, that is one window, of 4 channels
//   block    8 x 16 pixels of one image, 32 channels of one stream
//   grid     (tiles, split / 32 + (CO - split) / 32, N) blocks of 256
//   shared   what a tile needs (conv_tile.cuh)
//   bytes    a block reads 540 pixels and 864 weights, writes 1024 numbers and as many bytes
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    stem_activate(const byte* __restrict__ images, const real* __restrict__ w_relu,
                  const real* __restrict__ w_tanh, const real* __restrict__ gamma_relu,
                  const real* __restrict__ gamma_tanh, const real* __restrict__ beta_relu,
                  const real* __restrict__ beta_tanh, const real* __restrict__ centre,
                  const real* __restrict__ var, real* __restrict__ y_relu,
                  real* __restrict__ y_tanh, byte* __restrict__ flags, int H, int W, int split,
                  int CO, real unit, real eps) {
    __shared__ Patch patch;
    __shared__ Weights weights;
    const int OH = H - KH + 1, OW = W - KW + 1, groups = ceil_div(split, TILE_CHANNELS);
    const bool of_relu = blockIdx.y < groups;
    const int first = (of_relu ? blockIdx.y : blockIdx.y - groups) * TILE_CHANNELS;
    const int wide = of_relu ? split : CO - split, before = of_relu ? 0 : split;
    const Tile tile = tile_of(blockIdx.x, blockIdx.z, OH, OW);
    real values[4][4];
    convolve(images, of_relu ? w_relu : w_tanh, patch, weights, tile, first, H, W, COLOURS, wide,
             values);
    const int PH = OH / 2, PW = OW / 2;
    const int i = (tile.top + window_row()) / 2, j = (tile.left + window_column()) / 2;
    if (i >= PH || j >= PW) return;
    const int window = (tile.image * PH + i) * PW + j;
    for (int k = 0; k < 4; k++) {
        const int q = first + 4 * channel_group() + k;
        if (q >= wide) continue;
        Norm norm = norm_of(q, of_relu ? gamma_relu : gamma_tanh, of_relu ? beta_relu : beta_tanh,
                            centre + before, var + before, eps);
        norm.scale *= unit;
        real a[4];
        for (int p = 0; p < 4; p++) a[p] = activated(values[p][k], norm, of_relu ? RELU : TANH);
        const int best = first_maximum(a);
        int passes = 0;
        for (int p = 0; p < 4; p++) passes |= (of_relu ? a[p] > 0 : p == best) << p;
        flags[window * CO + before + q] = byte(passes);
        if (of_relu)
            y_relu[window * split + q] = (a[0] + a[1] + a[2] + a[3]) * real(0.25);
        else
            y_tanh[window * wide + q] = a[best];
    }
}
