// One tile of a KH x KW convolution (stride 1, no padding), computed by one block of 256 threads.
//
// The tile is 8 x 16 pixels of one image and 32 output channels. Thread t owns the 2 x 2 pixels of
// window t / 8 (4 x 8 windows) and the four channels of group t % 8: a 2 x 2 pooling window never
// leaves its thread. Input channels come in slices of 8 through shared memory.
#ifndef KH
#define KH 3
#endif
#ifndef KW
#define KW 3
#endif
#define THREADS 256
#define TILE_ROWS 8
#define TILE_COLUMNS 16
#define TILE_CHANNELS 32
#define SLICE 8
#define PATCH_ROWS (TILE_ROWS + KH - 1)
#define PATCH_COLUMNS (TILE_COLUMNS + KW - 1)
// One channel after the other. The odd size puts the 8 channels of a pixel, which are stored by 8
// neighbouring threads, into 8 different banks of shared memory.
typedef real Patch[SLICE][(PATCH_ROWS * PATCH_COLUMNS) | 1];
typedef Four Weights[KH * KW][SLICE][TILE_CHANNELS / 4];

struct Tile {
    int image, top, left;  // its first pixel, in rows and columns of the convolution's result
};

__device__ __forceinline__ int channel_group() { return threadIdx.x % (TILE_CHANNELS / 4); }
__device__ __forceinline__ int window_row() {
    return threadIdx.x / (TILE_CHANNELS / 4) / (TILE_COLUMNS / 2) * 2;
}
__device__ __forceinline__ int window_column() {
    return threadIdx.x / (TILE_CHANNELS / 4) % (TILE_COLUMNS / 2) * 2;
}

// Tile `number` of an image whose result has OH x OW pixels.
__device__ __forceinline__ Tile tile_of(int number, int image, int OH, int OW) {
    const int across = ceil_div(OW, TILE_COLUMNS);
    Tile tile = {image, number / across * TILE_ROWS, number % across * TILE_COLUMNS};
    return tile;
}

// Fetch channels c0 .. c0 + SLICE - 1 of the pixels under the tile; zeros beyond the edges.
template <class Pixel>
__device__ __forceinline__ void fetch_patch(const Pixel* __restrict__ x, Patch& patch, Tile tile,
                                            int c0, int H, int W, int C) {
    for (int k = threadIdx.x; k < PATCH_ROWS * PATCH_COLUMNS * SLICE; k += THREADS) {
        const int c = k % SLICE, pixel = k / SLICE;
        const int i = tile.top + pixel / PATCH_COLUMNS, j = tile.left + pixel % PATCH_COLUMNS;
        const bool inside = i < H && j < W && c0 + c < C;
        patch[c][pixel] = inside ? real(x[((tile.image * H + i) * W + j) * C + c0 + c]) : real(0);
    }
}

// Fetch the weights of channels c0 .. to the output channels first .. first + 31.
__device__ __forceinline__ void fetch_weights(const real* __restrict__ w, Weights& weights, int c0,
                                              int first, int C, int CO) {
    for (int k = threadIdx.x; k < KH * KW * SLICE * TILE_CHANNELS; k += THREADS) {
        const int q = k % TILE_CHANNELS, c = k / TILE_CHANNELS % SLICE;
        const int tap = k / (TILE_CHANNELS * SLICE);
        const bool inside = c0 + c < C && first + q < CO;
        weights[tap][c][q / 4].part[q % 4] =
            inside ? w[(tap * C + c0 + c) * CO + first + q] : real(0);
    }
}

// Add the products of a slice's `channels` channels: sums[2 r + s][k] is the convolution at row r,
// column s of this thread's window, channel k of its four.
__device__ __forceinline__ void accumulate(const Patch& patch, const Weights& weights, int channels,
                                           real (&sums)[4][4]) {
    const int corner = window_row() * PATCH_COLUMNS + window_column();
    for (int c = 0; c < channels; c++) {
        real pixels[KH + 1][KW + 1];  // what the four windows of this thread see together
#pragma unroll
        for (int r = 0; r < KH + 1; r++)
#pragma unroll
            for (int s = 0; s < KW + 1; s++)
                pixels[r][s] = patch[c][corner + r * PATCH_COLUMNS + s];
#pragma unroll
        for (int u = 0; u < KH; u++)
#pragma unroll
            for (int v = 0; v < KW; v++) {
                const Four weight = weights[u * KW + v][c][channel_group()];
#pragma unroll
                for (int p = 0; p < 4; p++)
#pragma unroll
                    for (int k = 0; k < 4; k++)
                        sums[p][k] += pixels[p / 2 + u][p % 2 + v] * weight.part[k];
            }
    }
}

// The convolution of this thread's pixels and channels, without a bias. All 256 threads call it:
// there are barriers inside, and behind the last one nobody needs `patch` and `weights` any more.
template <class Pixel>
__device__ __forceinline__ void convolve(const Pixel* __restrict__ x, const real* __restrict__ w,
                                         Patch& patch, Weights& weights, Tile tile, int first,
                                         int H, int W, int C, int CO, real (&sums)[4][4]) {
#pragma unroll
    for (int p = 0; p < 4; p++)
#pragma unroll
        for (int k = 0; k < 4; k++) sums[p][k] = 0;
    for (int c0 = 0; c0 < C; c0 += SLICE) {
        fetch_patch(x, patch, tile, c0, H, W, C);
        fetch_weights(w, weights, c0, first, C, CO);
        __syncthreads();
        accumulate(patch, weights, min(SLICE, C - c0), sums);
        __syncthreads();
    }
}
