// Activations, softmax and pixels (numpy_ref.py beside this).
#include "common.cuh"

#define RELU 0
#define RELU6 1
#define LEAKY 2
#define TANH 3
#define SIGMOID 4
#define SOFTPLUS 5

// 1 / (1 + e^-x); only e^-|x| <= 1 is computed, so nothing overflows.
__device__ __forceinline__ real logistic(real x) {
    const real e = exp(-fabs(x));
    return (x < 0 ? e : real(1)) / (1 + e);
}

// y = f(x).
//   thread   one number
//   grid     count / 256 blocks of 256
//   shared   none
//   bytes    one number read, one written
extern "C" __global__ void activation_forward(const real* __restrict__ x, real* __restrict__ y,
                                              int count, int f, real leak) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const real h = x[i], rectified = h < 0 ? real(0) : h;  // NaN stays NaN
    switch (f) {
        case RELU: y[i] = rectified; break;
        case RELU6: y[i] = rectified > 6 ? real(6) : rectified; break;
        case LEAKY: y[i] = h > 0 ? h : h * leak; break;
        case TANH: y[i] = tanh(h); break;
        case SIGMOID: y[i] = logistic(h); break;
        default: y[i] = rectified + log1p(exp(-fabs(h)));
    }
}

// gx = g f'(x), told by x for leaky ReLU and softplus and by y for the others.
//   thread   one number
//   grid     count / 256 blocks of 256
//   shared   none
//   bytes    two numbers read, one written
extern "C" __global__ void activation_backward(const real* __restrict__ g,
                                               const real* __restrict__ known,
                                               real* __restrict__ gx, int count, int f, real leak) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const real k = known[i];
    real slope;
    switch (f) {
        case RELU: slope = real(k > 0); break;
        case RELU6: slope = real(k > 0 && k < 6); break;
        case LEAKY: slope = k > 0 ? real(1) : leak; break;
        case TANH: slope = 1 - k * k; break;
        case SIGMOID: slope = k * (1 - k); break;
        default: slope = logistic(k);
    }
    gx[i] = g[i] * slope;
}

// softmax, or its logarithm, of each row.
//   thread   one row of S numbers: there are few of them
//   grid     M / 128 blocks of 128
//   shared   none
//   bytes    S numbers read (three times, twice through the caches) and written a row
extern "C" __global__ void softmax_forward(const real* __restrict__ x, real* __restrict__ y, int M,
                                           int S, int log_of_it) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= M) return;
    const real* numbers = x + row * S;
    real top = numbers[0], total = 0;
    for (int i = 1; i < S; i++)
        if (numbers[i] > top || numbers[i] != numbers[i]) top = numbers[i];
    for (int i = 0; i < S; i++) total += exp(numbers[i] - top);
    const real log_total = log(total);
    for (int i = 0; i < S; i++)
        y[row * S + i] =
            log_of_it ? numbers[i] - top - log_total : exp(numbers[i] - top) / total;
}

// gx of each row.
//   thread   one row of S numbers
//   grid     M / 128 blocks of 128
//   shared   none
//   bytes    2 S numbers read (twice, once through the caches) and S written a row
extern "C" __global__ void softmax_backward(const real* __restrict__ g, const real* __restrict__ y,
                                            real* __restrict__ gx, int M, int S, int log_of_it) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= M) return;
    real sum = 0;
    for (int i = row * S; i < (row + 1) * S; i++) sum += log_of_it ? g[i] : g[i] * y[i];
    for (int i = row * S; i < (row + 1) * S; i++)
        gx[i] = log_of_it ? g[i] - exp(y[i]) * sum : y[i] * (g[i] - sum);
}

// uint8 as real.
//   thread   one number
//   grid     count / 256 blocks of 256
//   shared   none
//   bytes    one byte read and one number written
extern "C" __global__ void pixels_to_float(const byte* __restrict__ pixels, real* __restrict__ x,
                                           int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) x[i] = real(pixels[i]);
}
