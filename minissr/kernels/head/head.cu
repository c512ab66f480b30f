// One stage of the head, forward: from both streams' maps to p, eta and delta (composed.py has the
// equations). Nothing here is large but the maps, so one block does all of it for one image.
#include "common.cuh"
#include "head_layers.cuh"

// The sum of `value` over the lanes of a warp, on lane 0.
__device__ __forceinline__ real warp_sum(real value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    return value;
}

// Writes what backward wants too: the compact features u and v, which pixel of its window each u
// is, and `hidden`: the layers a, b and c of an image.
//   thread   one compact feature at a time; then a lane of a sum over features; then one unit
//   block    one image
//   grid     N blocks of 256
//   shared   four small layers
//   bytes    an image reads both maps once (F times through the caches) and the stage's weights,
//            writes 3 numbers a feature and 5 S + M more
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    head_stage(const real* __restrict__ s, const real* __restrict__ x,
               const real* __restrict__ conv_s_w, const real* __restrict__ conv_s_b,
               const real* __restrict__ conv_x_w, const real* __restrict__ conv_x_b,
               const real* __restrict__ delta_w, const real* __restrict__ delta_b,
               const real* __restrict__ s_w, const real* __restrict__ s_b,
               const real* __restrict__ x_w, const real* __restrict__ x_b,
               const real* __restrict__ mix_w, const real* __restrict__ mix_b,
               const real* __restrict__ p_w, const real* __restrict__ p_b,
               const real* __restrict__ eta_w, const real* __restrict__ eta_b,
               const real* __restrict__ mask_s, const real* __restrict__ mask_x,
               real* u, real* v, int* __restrict__ winner, real* __restrict__ hidden,
               real* __restrict__ p, real* __restrict__ eta, real* __restrict__ delta, int H, int W,
               int CS, int CX, int F, int pool, int S, int M, int bins, int first_bin, int K, int k,
               int f_s, int f_x, int f_mix, int f_p) {
    __shared__ real a[UNITS], b[UNITS], c[UNITS], h[UNITS];
    const int n = blockIdx.x, t = threadIdx.x, columns = W / pool;
    const int features = H / pool * columns * F, from = n * features;

    for (int e = t; e < 2 * features; e += THREADS) {
        const bool of_s = e < features;
        const int feature = of_s ? e : e - features, f = feature % F, cell = feature / F;
        const int C = of_s ? CS : CX;
        const real* __restrict__ map = of_s ? s : x;
        const real* __restrict__ w = of_s ? conv_s_w : conv_x_w;
        const real bias = of_s ? conv_s_b[f] : conv_x_b[f];
        const int top = cell / columns * pool, left = cell % columns * pool;
        real sum = 0, best = 0;
        int at = 0;
        for (int pixel = 0; pixel < pool * pool; pixel++) {
            const int i = top + pixel / pool, j = left + pixel % pool;
            const real z = compacted(map + ((n * H + i) * W + j) * C, w, C, F, f, bias);
            const real active = activated(z, RELU);
            sum += active;
            if (pixel == 0 || active > best || (active != active && best == best)) {
                best = active;
                at = pixel;
            }
        }
        if (of_s) {
            u[from + feature] = best;
            winner[from + feature] = at;
        } else {
            v[from + feature] = sum / real(pool * pool);
        }
    }
    __syncthreads();  // the whole block reads these features

    // A warp for each unit of the layers a and b, and one for delta.
    for (int unit = t / 32; unit < 2 * S + 1; unit += WARPS) {
        const int j = unit % S;
        real sum = 0;
        for (int i = t % 32; i < features; i += 32) {
            const real of_u = u[from + i], of_v = v[from + i];
            if (unit < S)
                sum += of_u * (mask_s ? mask_s[from + i] : real(1)) * s_w[i * S + j];
            else if (unit < 2 * S)
                sum += of_v * (mask_x ? mask_x[from + i] : real(1)) * x_w[i * S + j];
            else
                sum += of_u * of_v * delta_w[i];
        }
        sum = warp_sum(sum);
        if (t % 32) continue;
        if (unit < S)
            a[j] = activated(sum + s_b[j], f_s);
        else if (unit < 2 * S)
            b[j] = activated(sum + x_b[j], f_x);
        else
            delta[n * K + k] = tanh(sum + delta_b[0]);
    }
    __syncthreads();

    const int units = mixed_units(S, M);
    if (t < units) {
        real sum = 0;
        for (int i = 0; i < (M ? S : 0); i++) sum += a[i] * b[i] * mix_w[i * M + t];
        c[t] = M ? activated(sum + mix_b[t], f_mix) : a[t] * b[t];
    }
    __syncthreads();

    real of_p = 0;
    if (t < S) {
        real of_eta = 0;
        for (int i = 0; i < units; i++) {
            of_p += c[i] * p_w[i * S + t];
            of_eta += c[i] * eta_w[i * S + t];
        }
        of_p += p_b[t];
        h[t] = of_p;
        eta[n * bins + first_bin + t] = tanh(of_eta + eta_b[t]);
    }
    __syncthreads();
    if (t < S) {
        if (f_p == SOFTMAX) {
            real top = h[0], total = 0;
            for (int i = 1; i < S; i++) top = h[i] > top ? h[i] : top;
            for (int i = 0; i < S; i++) total += exp(h[i] - top);
            of_p = exp(of_p - top) / total;
        } else {
            of_p = activated(of_p, f_p);
        }
        p[n * bins + first_bin + t] = of_p;
    }
    real* layers = hidden + n * (2 * S + units);
    if (t < S) {
        layers[t] = a[t];
        layers[S + t] = b[t];
    }
    if (t < units) layers[2 * S + t] = c[t];
}
