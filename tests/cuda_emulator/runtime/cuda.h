// CUDA C++ as g++ can compile it: keywords, built-in variables, warp operations, atomics, math.
// `__shared__` declarations were rewritten before (see source.py); everything else is here.
#pragma once
#include <math.h>

#include <string>
#include <type_traits>
#include <utility>

#include "scheduler.h"

// ---- keywords ----------------------------------------------------------------------------------
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

// ---- built-in variables ------------------------------------------------------------------------
#define threadIdx (emulator::thread_index)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::block_size)
#define gridDim (emulator::grid_size)
static const int warpSize = emulator::warp_size;

// ---- vector types ------------------------------------------------------------------------------
#define EMULATOR_VECTORS(T, name)                                                              \
    struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                         \
    struct name##3 { T x, y, z; };                                                             \
    struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; };             \
    static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                          \
    static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                  \
    static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float)
EMULATOR_VECTORS(double, double)
EMULATOR_VECTORS(int, int)
EMULATOR_VECTORS(unsigned, uint)
EMULATOR_VECTORS(unsigned char, uchar)

// ---- synchronisation ---------------------------------------------------------------------------
#define __syncthreads() emulator::barrier(__LINE__)
#define __threadfence() emulator::fence()
#define __threadfence_block() emulator::fence()

namespace emulator {
constexpr unsigned full_mask = 0xffffffffu;
// The lane an index means inside a segment of `width` lanes.
static inline int segment(int width) { return lane() / width * width; }
}  // namespace emulator

static inline void emulator_syncwarp(int line, unsigned mask = emulator::full_mask) {
    emulator::meet(mask, 0, line);
}
template <class T>
static inline T emulator_shfl(int line, unsigned mask, T value, int source, int width = 32) {
    source = emulator::segment(width) + (source & (width - 1));
    return emulator::shuffle(mask, value, source, true, line);
}
template <class T>
static inline T emulator_shfl_down(int line, unsigned mask, T value, int delta, int width = 32) {
    int source = emulator::lane() + delta;
    return emulator::shuffle(mask, value, source, source < emulator::segment(width) + width, line);
}
template <class T>
static inline T emulator_shfl_up(int line, unsigned mask, T value, int delta, int width = 32) {
    int source = emulator::lane() - delta;
    return emulator::shuffle(mask, value, source, source >= emulator::segment(width), line);
}
template <class T>
static inline T emulator_shfl_xor(int line, unsigned mask, T value, int bits, int width = 32) {
    int source = emulator::lane() ^ bits;
    return emulator::shuffle(mask, value, source, source < emulator::segment(width) + width, line);
}
#define __syncwarp(...) emulator_syncwarp(__LINE__, ##__VA_ARGS__)
#define __shfl_sync(...) emulator_shfl(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) emulator_shfl_down(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) emulator_shfl_up(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) emulator_shfl_xor(__LINE__, __VA_ARGS__)
#define __ballot_sync(mask, predicate) emulator::ballot((mask), (predicate), __LINE__)
#define __any_sync(mask, predicate) (__ballot_sync(mask, predicate) != 0)
#define __all_sync(mask, predicate) (__ballot_sync(mask, !(predicate)) == 0)

// ---- atomics: whole, but ordering nothing (CUDA's are relaxed) ---------------------------------
template <class T, class F>
static inline T emulator_atomic(T* address, F change) {
    emulator::before_atomic(address);
    T old, changed;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do {
        changed = change(old);
    } while (!__atomic_compare_exchange(address, &old, &changed, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    return old;
}
template <class T>
struct emulator_same {
    typedef T type;  // keeps the second argument out of type deduction: atomicAdd(float*, 1)
};
#define EMULATOR_ATOMIC(name, expression)                                            \
    template <class T>                                                               \
    static inline T name(T* address, typename emulator_same<T>::type value) {        \
        return emulator_atomic(address, [=](T old) { return (T)(expression); });     \
    }
EMULATOR_ATOMIC(atomicAdd, old + value)
EMULATOR_ATOMIC(atomicSub, old - value)
EMULATOR_ATOMIC(atomicExch, value)
EMULATOR_ATOMIC(atomicMin, value < old ? value : old)
EMULATOR_ATOMIC(atomicMax, old < value ? value : old)
EMULATOR_ATOMIC(atomicAnd, old& value)
EMULATOR_ATOMIC(atomicOr, old | value)
template <class T>
static inline T atomicCAS(T* address, typename emulator_same<T>::type expected,
                          typename emulator_same<T>::type value) {
    return emulator_atomic(address, [=](T old) { return old == expected ? value : old; });
}

// ---- functions ---------------------------------------------------------------------------------
template <class T>
static inline T __ldg(const T* address) {
    return *address;
}
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
static inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

// ---- launching: g++ itself tells the types of a kernel's parameters ----------------------------
namespace emulator {

template <class T>
struct Scalar {  // NumPy's short name: f4, i4, u1 ...
    static std::string name() {
        const char* kind = std::is_same<T, bool>::value            ? "b"
                           : std::is_floating_point<T>::value      ? "f"
                           : std::is_signed<T>::value              ? "i"
                                                                   : "u";
        return kind + std::to_string(sizeof(T));
    }
};
#define EMULATOR_VECTOR_NAMES(T, name)                        \
    template <>                                               \
    struct Scalar<name##2> : Scalar<T> {};                    \
    template <>                                               \
    struct Scalar<name##4> : Scalar<T> {};
EMULATOR_VECTOR_NAMES(float, float)
EMULATOR_VECTOR_NAMES(double, double)
EMULATOR_VECTOR_NAMES(int, int)
EMULATOR_VECTOR_NAMES(unsigned, uint)

template <class T>
struct Parameter {  // "=f4": a value, "r*f4": a pointer to const, "w*f4": a pointer
    static std::string name() { return "=" + Scalar<T>::name(); }
};
template <class T>
struct Parameter<T*> {
    static std::string name() { return "w*" + Scalar<T>::name(); }
};
template <class T>
struct Parameter<const T*> {
    static std::string name() { return "r*" + Scalar<T>::name(); }
};

template <class... P>
static const char* describe(void (*)(P...)) {
    static std::string text;
    text.clear();
    for (const std::string& name : {std::string(), Parameter<P>::name()...})
        if (!name.empty()) text += name + " ";
    return text.c_str();
}

template <class... P, size_t... I>
static void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*(typename std::remove_reference<P>::type*)arguments[I]...);
}

struct Geometry {
    unsigned grid[3], block[3];
    unsigned long long shared, with_fibers, order, seed;
};

template <class... P>
static int launch(void (*kernel)(P...), const Geometry* g, void** arguments) {
    std::function<void()> thread = [=] {
        call(kernel, arguments, std::index_sequence_for<P...>());
    };
    return run({g->grid[0], g->grid[1], g->grid[2]}, {g->block[0], g->block[1], g->block[2]},
               g->shared, g->with_fibers, (int)g->order, g->seed, thread);
}

}  // namespace emulator
