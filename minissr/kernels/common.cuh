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
