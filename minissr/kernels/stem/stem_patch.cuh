// Patches of an image as the stem's kernels see them: 3 x 3 pixels of 3 colours, 27 taps.
#define COLOURS 3
#define ROW_TAPS (KW * COLOURS)  // consecutive numbers under one row of the window
#define TAPS (KH * ROW_TAPS)

// Weight `tap` of channel q of both streams, the ReLU stream's `split` channels first.
__device__ __forceinline__ real weight_of(const real* __restrict__ w_relu,
                                          const real* __restrict__ w_tanh, int tap, int q,
                                          int split, int CO) {
    return q < split ? w_relu[tap * split + q] : w_tanh[tap * (CO - split) + q - split];
}

// The pixels under a tile of windows, row by row; zeros beyond the edges.
template <class Number>
__device__ __forceinline__ void fetch_pixels(const byte* __restrict__ images, Number* pixels,
                                             Tile tile, int H, int W) {
    for (int e = threadIdx.x; e < PATCH_ROWS * PATCH_COLUMNS * COLOURS; e += THREADS) {
        const int i = tile.top + e / (PATCH_COLUMNS * COLOURS);
        const int j = tile.left * COLOURS + e % (PATCH_COLUMNS * COLOURS);
        const bool inside = i < H && j < W * COLOURS;
        pixels[e] = inside ? Number(images[(tile.image * H + i) * W * COLOURS + j]) : Number(0);
    }
}
