// One optimiser step for all parameters of a network: they lie one after the other in one flat
// array, their gradients and moments likewise, so one launch does it.
#include "common.cuh"

// Adam (numpy_ref.py has its two forms; both are p -= a m / (sqrt(v) + e) with a and e computed
// once on the host).
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

// Arrays one after the other into one: flat[starts[first + k] ...] = part k; no array is zeros.
//   thread   numbers of one array, a grid apart
//   grid     (blocks, 16) blocks of 256
//   shared   none
//   bytes    1 number read and 1 written a number
extern "C" __global__ void gather(const real* __restrict__ part0, const real* __restrict__ part1,
                                  const real* __restrict__ part2, const real* __restrict__ part3,
                                  const real* __restrict__ part4, const real* __restrict__ part5,
                                  const real* __restrict__ part6, const real* __restrict__ part7,
                                  const real* __restrict__ part8, const real* __restrict__ part9,
                                  const real* __restrict__ part10, const real* __restrict__ part11,
                                  const real* __restrict__ part12, const real* __restrict__ part13,
                                  const real* __restrict__ part14, const real* __restrict__ part15,
                                  const int* __restrict__ starts, real* __restrict__ flat,
                                  int first, int count) {
    const int k = blockIdx.y;
    if (k >= count) return;
    const real* part;
    switch (k) {  // an array of pointers, indexed, would live in memory
        case 0: part = part0; break; case 1: part = part1; break;
        case 2: part = part2; break; case 3: part = part3; break;
        case 4: part = part4; break; case 5: part = part5; break;
        case 6: part = part6; break; case 7: part = part7; break;
        case 8: part = part8; break; case 9: part = part9; break;
        case 10: part = part10; break; case 11: part = part11; break;
        case 12: part = part12; break; case 13: part = part13; break;
        case 14: part = part14; break; case 15: part = part15; break;
        default: return;
    }
    const int begin = starts[first + k], end = starts[first + k + 1];
    const int stride = gridDim.x * blockDim.x;
    for (int e = begin + blockIdx.x * blockDim.x + threadIdx.x; e < end; e += stride)
        flat[e] = part ? part[e - begin] : real(0);
}
