// Affine warp of uint8 images (numpy_ref.py has the equations). Positions and weights are whole
// numbers, so that every backend gives the same bytes.
#include "common.cuh"

typedef long long whole;

__device__ __forceinline__ int clamped(whole i, int size) {
    return i < 0 ? 0 : i >= size ? size - 1 : int(i);
}

// Each image resampled once; positions in 2^-24 pixel, weights in 2^-8.
//   thread   one pixel (n, r, c), all its channels
//   grid     N H W / 256 blocks of 256
//   shared   none
//   bytes    a pixel reads 1 (nearest) or 4 (bilinear) pixels and 6 doubles through the caches, and
//            writes 1 pixel
extern "C" __global__ void warp_affine(const byte* __restrict__ images,
                                       const double* __restrict__ matrices,
                                       byte* __restrict__ warped, int pixels, int H, int W, int C,
                                       int bilinear) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    const int c = pixel % W, r = pixel / W % H, n = pixel / (W * H);
    whole place[2];  // row and column in the image, in 2^-24 pixel
    for (int axis = 0; axis < 2; axis++) {
        whole entries[3];
        for (int k = 0; k < 3; k++)
            entries[k] = whole(rint(matrices[(n * 2 + axis) * 3 + k] * 16777216.0));
        place[axis] = entries[0] * r + entries[1] * c + entries[2];
    }
    const byte* image = images + n * H * W * C;
    if (!bilinear) {
        const int i = clamped((place[0] + (1 << 23)) >> 24, H);
        const int j = clamped((place[1] + (1 << 23)) >> 24, W);
        for (int k = 0; k < C; k++) warped[pixel * C + k] = image[(i * W + j) * C + k];
        return;
    }
    const whole row = (place[0] + (1 << 15)) >> 16, column = (place[1] + (1 << 15)) >> 16;
    const int f = int(row & 255), g = int(column & 255);
    const int i0 = clamped(row >> 8, H), i1 = clamped((row >> 8) + 1, H);
    const int j0 = clamped(column >> 8, W), j1 = clamped((column >> 8) + 1, W);
    for (int k = 0; k < C; k++) {
        const int top = image[(i0 * W + j0) * C + k] * (256 - g) + image[(i0 * W + j1) * C + k] * g;
        const int bottom =
            image[(i1 * W + j0) * C + k] * (256 - g) + image[(i1 * W + j1) * C + k] * g;
        warped[pixel * C + k] = byte((top * (256 - f) + bottom * f + 32768) >> 16);
    }
}
