// What the .cu files share; minissr/kernels/cuda.py puts this text where they include it.
//
// REAL is float or double, chosen when a file is compiled. Feature maps are (N, H, W, C) with the
// channel running fastest, weights (KH, KW, C, CO): wherever possible neighbouring threads take
// neighbouring channels, so that a warp's loads and stores are whole cache lines.
typedef REAL real;
typedef unsigned char byte;

// Four numbers that are loaded and stored together (one 16-byte access for float).
struct __align__(16) Four {
    real part[4];
};

__device__ __forceinline__ int ceil_div(int a, int b) { return (a + b - 1) / b; }

// True in the block of this row of the grid (blockIdx.y) that arrives here last, on all its
// threads; it then sees what the others wrote before. `arrived` has a zero for every row, and gets
// it back. The atomic only counts: what the last block computes does not depend on which one it is.
__device__ __forceinline__ bool is_last_block(unsigned* arrived) {
    __shared__ int last;
    __threadfence();   // my writes are out before I am counted ...
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicAdd(arrived + blockIdx.y, 1u) == gridDim.x - 1;
        __threadfence();   // ... and whoever counted the last sees all of them
        if (last) atomicExch(arrived + blockIdx.y, 0u);
    }
    __syncthreads();
    return last;
}
