// One optimiser step for all parameters of a network: they lie one after the other in one flat
// array, their gradients and moments likewise, so one launch does it.
#include "common.cuh"

// Adam (numpy_ref.py has its two forms; both are p -= a m / (sqrt(v) + e) with a and e computed once
// on the host).
//   thread   one parameter
//   grid     P / 256 blocks of 256
//   shared   none
//   bytes    4 numbers read and 3 written a parameter
extern "C" __global__ void adam_step(real* __restrict__ param, const real* __restrict__ grad,
                                     real* __restrict__ m, real* __restrict__ v, int P, real a,
                                     real e, real beta1, real beta2) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= P) return;
    const real g = grad[i];
    const real mean = beta1 * m[i] + (1 - beta1) * g;
    const real square = beta2 * v[i] + (1 - beta2) * g * g;
    m[i] = mean;
    v[i] = square;
    param[i] -= a * mean / (sqrt(square) + e);
}

// Stochastic gradient descent with momentum.
//   thread   one parameter
//   grid     P / 256 blocks of 256
//   shared   none
//   bytes    3 numbers read and 2 written a parameter
extern "C" __global__ void sgd_step(real* __restrict__ param, const real* __restrict__ grad,
                                    real* __restrict__ velocity, int P, real lr, real momentum,
                                    int nesterov) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= P) return;
    const real step = lr * grad[i], speed = momentum * velocity[i] - step;
    velocity[i] = speed;
    param[i] += nesterov ? momentum * speed - step : speed;
}
