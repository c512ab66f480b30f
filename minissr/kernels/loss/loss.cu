// Mean errors: |x - t| or (x - t)^2 (numpy_ref.py). Few numbers, so one block adds them up.
#include "common.cuh"

#define THREADS 256
#define ABSOLUTE 0

//   thread   every 256th number; then a sum over threads
//   grid     one block of 256
//   shared   256 doubles
//   bytes    2 numbers read a number; one written
extern "C" __global__ void __launch_bounds__(THREADS)
    error_forward(const real* __restrict__ x, const real* __restrict__ target,
                  real* __restrict__ loss, int count, int kind) {
    __shared__ double sums[THREADS];
    double sum = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const real error = x[i] - target[i];
        sum += kind == ABSOLUTE ? fabs(error) : error * error;
    }
    sums[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) loss[0] = real(sums[0] / count);
}

//   thread   one number
//   grid     count / 256 blocks of 256
//   shared   none
//   bytes    2 numbers read and one written a number
extern "C" __global__ void error_backward(const real* __restrict__ g, const real* __restrict__ x,
                                          const real* __restrict__ target, real* __restrict__ gx,
                                          int count, int kind) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const real error = x[i] - target[i], share = g[0] / real(count);
    // NaN stays NaN: it is neither above nor below, and not equal to itself.
    const real sign = error > 0 ? real(1) : error < 0 ? real(-1) : error * 0;
    gx[i] = kind == ABSOLUTE ? sign * share : error * (2 * share);
}
