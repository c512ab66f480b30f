// Max and average pooling. Every result is gathered by the one thread that owns it, backward too:
// a pixel looks at the windows it lies in. So nothing is added up across threads, and the same
// inputs give the same bits.
//
// Ties: the first maximum in row-major order of the window wins. NaN beats every number, the first
// NaN of a window wins. Padding never wins.
#include "common.cuh"

// The thread's element of an (N, rows, columns, C) array.
struct Element {
    int n, i, j, c;
};
__device__ __forceinline__ Element element_of(int number, int rows, int columns, int C) {
    Element e = {number / (C * columns * rows), number / (C * columns) % rows,
                 number / C % columns, number % C};
    return e;
}

// The windows that contain coordinate h of the padded axis begin at first * S, ..., last * S.
__device__ __forceinline__ int first_window(int h, int K, int S) {
    return h < K ? 0 : (h - K) / S + 1;
}
__device__ __forceinline__ int last_window(int h, int S, int windows) {
    return min(h / S, windows - 1);
}

// y and where it came from: argmax = u KW + v.
//   thread   one output (n, i, j, c); neighbouring threads have neighbouring channels
//   grid     N OH OW C / 256 blocks of 256
//   shared   none
//   bytes    an output reads KH KW numbers and writes 2
extern "C" __global__ void max_pool_forward(const real* __restrict__ x, real* __restrict__ y,
                                            int* __restrict__ argmax, int outputs, int H, int W,
                                            int C, int OH, int OW, int KH, int KW, int SH, int SW,
                                            int top, int left) {
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= outputs) return;
    const Element e = element_of(output, OH, OW, C);
    real best = 0;
    int where = -1;
    for (int u = 0; u < KH; u++)
        for (int v = 0; v < KW; v++) {
            const int h = e.i * SH + u - top, w = e.j * SW + v - left;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            const real value = x[((e.n * H + h) * W + w) * C + e.c];
            if (where < 0 || value > best || (value != value && best == best)) {
                best = value;
                where = u * KW + v;
            }
        }
    y[output] = best;
    argmax[output] = where;
}

// gx from gy and the argmax of the forward pass.
//   thread   one input (n, h, w, c)
//   grid     N H W C / 256 blocks of 256
//   shared   none
//   bytes    an input reads 2 numbers for every window it lies in (1 for pools side by side) and
//            writes 1
extern "C" __global__ void max_pool_backward(const real* __restrict__ gy,
                                             const int* __restrict__ argmax, real* __restrict__ gx,
                                             int inputs, int H, int W, int C, int OH, int OW,
                                             int KH, int KW, int SH, int SW, int top, int left) {
    const int input = blockIdx.x * blockDim.x + threadIdx.x;
    if (input >= inputs) return;
    const Element e = element_of(input, H, W, C);
    const int h = e.i + top, w = e.j + left;  // in the padded image
    real sum = 0;
    for (int i = first_window(h, KH, SH); i <= last_window(h, SH, OH); i++)
        for (int j = first_window(w, KW, SW); j <= last_window(w, SW, OW); j++) {
            const int output = ((e.n * OH + i) * OW + j) * C + e.c;
            if (argmax[output] == (h - i * SH) * KW + w - j * SW) sum += gy[output];
        }
    gx[input] = sum;
}

// How many pixels of the window that begins at (h, w) lie on the image.
__device__ __forceinline__ int pixels_on_image(int h, int w, int H, int W, int KH, int KW) {
    return (min(h + KH, H) - max(h, 0)) * (min(w + KW, W) - max(w, 0));
}

// Means; with `count_padding` the padding counts as zeros.
//   thread   one output (n, i, j, c)
//   grid     N OH OW C / 256 blocks of 256
//   shared   none
//   bytes    an output reads KH KW numbers and writes 1
extern "C" __global__ void avg_pool_forward(const real* __restrict__ x, real* __restrict__ y,
                                            int outputs, int H, int W, int C, int OH, int OW,
                                            int KH, int KW, int SH, int SW, int top, int left,
                                            int count_padding) {
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= outputs) return;
    const Element e = element_of(output, OH, OW, C);
    const int h0 = e.i * SH - top, w0 = e.j * SW - left;
    real sum = 0;
    for (int h = max(h0, 0); h < min(h0 + KH, H); h++)
        for (int w = max(w0, 0); w < min(w0 + KW, W); w++)
            sum += x[((e.n * H + h) * W + w) * C + e.c];
    const int count = count_padding ? KH * KW : pixels_on_image(h0, w0, H, W, KH, KW);
    y[output] = sum / real(count);
}

//   thread   one input (n, h, w, c)
//   grid     N H W C / 256 blocks of 256
//   shared   none
//   bytes    an input reads 1 number for every window it lies in and writes 1
extern "C" __global__ void avg_pool_backward(const real* __restrict__ gy, real* __restrict__ gx,
                                             int inputs, int H, int W, int C, int OH, int OW,
                                             int KH, int KW, int SH, int SW, int top, int left,
                                             int count_padding) {
    const int input = blockIdx.x * blockDim.x + threadIdx.x;
    if (input >= inputs) return;
    const Element e = element_of(input, H, W, C);
    const int h = e.i + top, w = e.j + left;
    real sum = 0;
    for (int i = first_window(h, KH, SH); i <= last_window(h, SH, OH); i++)
        for (int j = first_window(w, KW, SW); j <= last_window(w, SW, OW); j++) {
            const int count = count_padding
                                  ? KH * KW
                                  : pixels_on_image(i * SH - top, j * SW - left, H, W, KH, KW);
            sum += gy[((e.n * OH + i) * OW + j) * C + e.c] / real(count);
        }
    gx[input] = sum;
}
