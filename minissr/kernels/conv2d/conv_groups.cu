// Convolution in groups, depthwise above all: output channel q of group g sees only the C / G input
// channels of that group. With so few products an output there is nothing to share through a tile:
// these kernels read through the caches, neighbouring threads on neighbouring channels.
//
//     y[n,i,j,q] = bias[q] + sum_{u,v,k} x~[n, i a + u, j b + v, g c + k] w[u,v,k,q]
#include "common.cuh"

// Forward.
//   thread   one output (n, i, j, q)
//   grid     N OH OW CO / 256 blocks of 256
//   shared   none
//   bytes    an output reads KH KW C/G pixels and weights, and is written once
extern "C" __global__ void conv_groups_forward(const real* __restrict__ x,
                                               const real* __restrict__ w,
                                               const real* __restrict__ bias, real* __restrict__ y,
                                               int outputs, int H, int W, int C, int OH, int OW,
                                               int CO, int KH, int KW, int SH, int SW, int top,
                                               int left, int groups) {
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= outputs) return;
    const int q = output % CO, j = output / CO % OW, i = output / (CO * OW) % OH;
    const int n = output / (CO * OW * OH);
    const int wide = C / groups, first = q / (CO / groups) * wide;
    real sum = bias ? bias[q] : real(0);
    for (int u = 0; u < KH; u++)
        for (int v = 0; v < KW; v++) {
            const int h = i * SH + u - top, column = j * SW + v - left;
            if (h < 0 || h >= H || column < 0 || column >= W) continue;
            for (int k = 0; k < wide; k++)
                sum += x[((n * H + h) * W + column) * C + first + k] *
                       w[((u * KW + v) * wide + k) * CO + q];
        }
    y[output] = sum;
}

// Input gradient: every pixel gathers from the windows it lies in.
//   thread   one number (n, h, w, c) of gx
//   grid     N H W C / 256 blocks of 256
//   shared   none
//   bytes    a number reads at most KH KW CO/G numbers of gy and weights, and is written once
extern "C" __global__ void conv_groups_input_grad(const real* __restrict__ gy,
                                                  const real* __restrict__ w,
                                                  real* __restrict__ gx, int inputs, int H, int W,
                                                  int C, int OH, int OW, int CO, int KH, int KW,
                                                  int SH, int SW, int top, int left, int groups) {
    const int input = blockIdx.x * blockDim.x + threadIdx.x;
    if (input >= inputs) return;
    const int c = input % C, column = input / C % W, h = input / (C * W) % H;
    const int n = input / (C * W * H);
    const int wide = C / groups, outs = CO / groups, first = c / wide * outs;
    real sum = 0;
    for (int u = 0; u < KH; u++)
        for (int v = 0; v < KW; v++) {
            const int down = h + top - u, right = column + left - v;
            if (down < 0 || right < 0 || down % SH || right % SW) continue;
            const int i = down / SH, j = right / SW;
            if (i >= OH || j >= OW) continue;
            for (int k = 0; k < outs; k++)
                sum += gy[((n * OH + i) * OW + j) * CO + first + k] *
                       w[((u * KW + v) * wide + c % wide) * CO + first + k];
        }
    gx[input] = sum;
}

// Weight gradient, in parts (conv_gemm.cu's `sum_parts` adds them up).
//   thread   one weight (u, v, k, q), over `share` windows
//   grid     (weights / 128, parts) blocks of 128
//   shared   none
//   bytes    a thread reads 2 numbers a window and writes 1
extern "C" __global__ void conv_groups_weight_grad(const real* __restrict__ x,
                                                   const real* __restrict__ gy,
                                                   real* __restrict__ parts, int windows, int share,
                                                   int H, int W, int C, int OH, int OW, int CO,
                                                   int KH, int KW, int SH, int SW, int top,
                                                   int left, int groups) {
    const int wide = C / groups, weights = KH * KW * wide * CO;
    const int weight = blockIdx.x * blockDim.x + threadIdx.x;
    if (weight >= weights) return;
    const int q = weight % CO, k = weight / CO % wide, v = weight / (CO * wide) % KW;
    const int u = weight / (CO * wide * KW);
    const int c = q / (CO / groups) * wide + k;
    const int begin = blockIdx.y * share, end = min(begin + share, windows);
    real sum = 0;
    for (int window = begin; window < end; window++) {
        const int j = window % OW, i = window / OW % OH, n = window / (OW * OH);
        const int h = i * SH + u - top, column = j * SW + v - left;
        if (h < 0 || h >= H || column < 0 || column >= W) continue;
        sum += x[((n * H + h) * W + column) * C + c] * gy[window * CO + q];
    }
    parts[blockIdx.y * weights + weight] = sum;
}
