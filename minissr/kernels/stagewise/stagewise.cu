// Soft stagewise regression: the age that K stages of bins agree on (numpy_ref.py has the
// equations and their derivation). The bins of all stages lie one after the other in p and eta.
#include "common.cuh"

// f_k = max(1 + c_delta delta_k, floor), by how much stage k stretches its number of bins.
__device__ __forceinline__ real stretch(real delta, real c_delta, real floor) {
    const real f = 1 + c_delta * delta;
    return f <= floor ? floor : f;  // NaN stays NaN
}

// Ages, bin widths w_k and bin indices q_k.
//   thread   one image
//   grid     N / 128 blocks of 128
//   shared   none
//   bytes    an image reads 2 numbers a bin and 1 a stage, writes 2 a stage and its age
extern "C" __global__ void stagewise_forward(const real* __restrict__ p,
                                             const real* __restrict__ eta,
                                             const real* __restrict__ delta,
                                             const int* __restrict__ stages,
                                             real* __restrict__ age, real* __restrict__ width,
                                             real* __restrict__ index, int N, int K, int bins,
                                             real min_age, real max_age, real c_delta, real c_eta,
                                             real floor) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= N) return;
    real w = max_age - min_age, sum = 0;
    int first = 0;
    for (int k = 0; k < K; k++) {
        w /= real(stages[k]) * stretch(delta[n * K + k], c_delta, floor);
        real q = 0;
        for (int i = 0; i < stages[k]; i++) {
            const int bin = n * bins + first + i;
            q += p[bin] * (real(i) + c_eta * eta[bin]);
        }
        first += stages[k];
        width[n * K + k] = w;
        index[n * K + k] = q;
        sum += w * q;
    }
    age[n] = min_age + sum;
}

// gp, geta, gdelta. Stages are walked from the finest to the coarsest: delta_j moves the widths of
// its own and all finer stages.
//   thread   one image
//   grid     N / 128 blocks of 128
//   shared   none
//   bytes    an image reads 2 numbers a bin, 3 a stage and 1, writes 2 a bin and 1 a stage
extern "C" __global__ void stagewise_backward(
    const real* __restrict__ g_age, const real* __restrict__ p, const real* __restrict__ eta,
    const real* __restrict__ delta, const real* __restrict__ width, const real* __restrict__ index,
    const int* __restrict__ stages, real* __restrict__ gp, real* __restrict__ geta,
    real* __restrict__ gdelta, int N, int K, int bins, real c_delta, real c_eta, real floor) {
    const int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= N) return;
    const real g = g_age[n];
    real finer = 0;  // sum over stages k >= j of w_k q_k
    int first = bins;
    for (int k = K - 1; k >= 0; k--) {
        const real w = width[n * K + k];
        first -= stages[k];
        for (int i = 0; i < stages[k]; i++) {
            const int bin = n * bins + first + i;
            gp[bin] = g * w * (real(i) + c_eta * eta[bin]);
            geta[bin] = g * w * p[bin] * c_eta;
        }
        finer += w * index[n * K + k];
        const real f = 1 + c_delta * delta[n * K + k];
        gdelta[n * K + k] = f > floor ? -g * (c_delta / f) * finer : real(0);
    }
}
