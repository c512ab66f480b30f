// One stage of the head, backward: from the gradients of p, eta and delta to those of both maps and
// of the stage's parameters. One block goes back through one image; the block that finishes last
// adds up over images, in their order.
#include "common.cuh"
#include "head_layers.cuh"

#define FEATURES 512  // most compact features of a stream
#define CHANNELS 64   // most channels of a map
#define COMPACT 16    // most compact channels
#define PIXELS 32     // of a map that are looked at together

// A pixel's way back through one 1x1 convolution, for a chunk of PIXELS pixels of one image: gz
// from what its cell's features get, then g of the map and the sums for the convolution's gradient.
struct Chunk {
    real pixels[PIXELS][CHANNELS];
    real gz[PIXELS][COMPACT];
    real sums[(CHANNELS + 1) * COMPACT];  // of (c, f), and then of (f)
};

__device__ __forceinline__ void map_grads(const real* __restrict__ map, const real* __restrict__ w,
                                          const real* __restrict__ bias,
                                          const int* __restrict__ winner, const real* cells,
                                          real* __restrict__ g_map, real* __restrict__ parts,
                                          Chunk& chunk, int n, int H, int W, int C, int F,
                                          int pool) {
    const int t = threadIdx.x, rows = H / pool, columns = W / pool;
    for (int e = t; e < (C + 1) * F; e += THREADS) chunk.sums[e] = 0;
    for (int first = 0; first < H * W; first += PIXELS) {
        const int count = min(PIXELS, H * W - first);
        for (int e = t; e < count * C; e += THREADS)
            chunk.pixels[e / C][e % C] = map[(n * H * W + first) * C + e];
        __syncthreads();
        for (int e = t; e < count * F; e += THREADS) {
            const int f = e % F, i = (first + e / F) / W, j = (first + e / F) % W;
            real gz = 0;
            if (i / pool < rows && j / pool < columns) {
                const int feature = (i / pool * columns + j / pool) * F + f;
                bool passes;
                if (winner)
                    passes = winner[n * rows * columns * F + feature] == i % pool * pool + j % pool;
                else
                    passes = compacted(chunk.pixels[e / F], w, C, F, f, bias[f]) > 0;
                gz = passes ? cells[feature] : real(0);
            }
            chunk.gz[e / F][f] = gz;
        }
        __syncthreads();
        for (int e = t; e < count * C; e += THREADS) {
            real g = 0;
            for (int f = 0; f < F; f++) g += chunk.gz[e / C][f] * w[e % C * F + f];
            g_map[(n * H * W + first) * C + e] = g;
        }
        for (int e = t; e < (C + 1) * F; e += THREADS) {
            real sum = 0;
            for (int pixel = 0; pixel < count; pixel++)
                sum += chunk.gz[pixel][e % F] * (e < C * F ? chunk.pixels[pixel][e / F] : real(1));
            chunk.sums[e] += sum;
        }
        __syncthreads();
    }
    for (int e = t; e < (C + 1) * F; e += THREADS) parts[e] = chunk.sums[e];
}

// `small` gets, of each image, dL/dh of the layers: p (S), eta (S), mix (M), s (S), x (S), delta
// (1). `grads` gets the gradients of the stage's parameters one after the other, in the order of
// composed.py.
//   thread   one unit; then one feature; then one number of a map or one weight at a time
//   block    one image
//   grid     N blocks of 256
//   shared   the small layers, the features' gradients, 32 pixels with their gz, 65 x 16 sums
//   bytes    an image reads both maps and writes both gradients once, 3 numbers a feature and the
//            stage's weights; the last block reads (CS + CX + 2) F sums and 3 features more
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    head_stage_grad(const real* __restrict__ g_p, const real* __restrict__ g_eta,
                    const real* __restrict__ g_delta, const real* __restrict__ p,
                    const real* __restrict__ eta, const real* __restrict__ delta,
                    const real* __restrict__ u, const real* __restrict__ v,
                    const int* __restrict__ winner, const real* __restrict__ hidden,
                    const real* __restrict__ s, const real* __restrict__ x,
                    const real* __restrict__ conv_s_w, const real* __restrict__ conv_x_w,
                    const real* __restrict__ conv_x_b, const real* __restrict__ delta_w,
                    const real* __restrict__ s_w, const real* __restrict__ x_w,
                    const real* __restrict__ mix_w, const real* __restrict__ p_w,
                    const real* __restrict__ eta_w, const real* __restrict__ mask_s,
                    const real* __restrict__ mask_x, real* __restrict__ gs, real* __restrict__ gx,
                    real* small, real* parts, real* __restrict__ grads,
                    unsigned* __restrict__ arrived, int N, int H, int W, int CS, int CX, int F,
                    int pool, int S, int M, int bins, int first_bin, int K, int k, int f_s, int f_x,
                    int f_mix, int f_p) {
    __shared__ real h_p[UNITS], h_eta[UNITS], h_mix[UNITS], g_ab[UNITS], h_s[UNITS], h_x[UNITS];
    __shared__ real cells[2][FEATURES];
    __shared__ Chunk chunk;
    const int n = blockIdx.x, t = threadIdx.x, units = mixed_units(S, M);
    const int features = H / pool * (W / pool) * F, from = n * features;
    const int layers = 2 * S + units, gradients = 4 * S + M + 1, sums = (CS + CX + 2) * F;
    const real* a = hidden + n * layers;
    const real* b = a + S;
    const real* c = b + S;
    real* mine = small + n * gradients;

    if (t < S) {
        const int bin = n * bins + first_bin;
        const real e = eta[bin + t];
        real dot = 0;
        for (int i = 0; i < S; i++) dot += g_p[bin + i] * p[bin + i];
        h_p[t] = f_p == SOFTMAX ? p[bin + t] * (g_p[bin + t] - dot)
                                : g_p[bin + t] * slope(p[bin + t], f_p);
        h_eta[t] = g_eta[bin + t] * (1 - e * e);
    }
    __syncthreads();
    if (t < units) {
        real g = 0;
        for (int j = 0; j < S; j++) g += h_p[j] * p_w[t * S + j] + h_eta[j] * eta_w[t * S + j];
        (M ? h_mix : g_ab)[t] = M ? g * slope(c[t], f_mix) : g;
    }
    __syncthreads();
    if (t < S) {
        real g = 0;
        for (int j = 0; j < M; j++) g += h_mix[j] * mix_w[t * M + j];
        if (M) g_ab[t] = g;
        h_s[t] = g_ab[t] * b[t] * slope(a[t], f_s);
        h_x[t] = g_ab[t] * a[t] * slope(b[t], f_x);
        mine[t] = h_p[t];
        mine[S + t] = h_eta[t];
        mine[2 * S + M + t] = h_s[t];
        mine[3 * S + M + t] = h_x[t];
    }
    if (t < M) mine[2 * S + t] = h_mix[t];
    const real d = delta[n * K + k], h_delta = g_delta[n * K + k] * (1 - d * d);
    if (t == 0) mine[4 * S + M] = h_delta;
    __syncthreads();

    for (int i = t; i < features; i += THREADS) {
        real g_u = 0, g_v = 0;
        for (int j = 0; j < S; j++) {
            g_u += h_s[j] * s_w[i * S + j];
            g_v += h_x[j] * x_w[i * S + j];
        }
        if (mask_s) g_u *= mask_s[from + i];
        if (mask_x) g_v *= mask_x[from + i];
        g_u += h_delta * delta_w[i] * v[from + i];
        g_v += h_delta * delta_w[i] * u[from + i];
        cells[0][i] = u[from + i] > 0 ? g_u : real(0);
        cells[1][i] = g_v / real(pool * pool);
    }
    __syncthreads();
    real* sums_s = parts + n * sums;
    map_grads(s, conv_s_w, nullptr, winner, cells[0], gs, sums_s, chunk, n, H, W, CS, F, pool);
    map_grads(x, conv_x_w, conv_x_b, nullptr, cells[1], gx, sums_s + (CS + 1) * F, chunk, n, H, W,
              CX, F, pool);
    if (!is_last_block(arrived)) return;

    // Each weight (i, j) of a layer is a sum over images of the layer's input i times its dL/dh j.
    const int counts[6] = {features + 1,        (features + 1) * S, (features + 1) * S,
                           M ? (S + 1) * M : 0, (units + 1) * S,    (units + 1) * S};
    const int wide[6] = {1, S, S, M, S, S};
    const int place[6] = {4 * S + M, 2 * S + M, 3 * S + M, 2 * S, 0, S};  // of dL/dh in `small`
    for (int e = t; e < sums; e += THREADS) {
        real sum = 0;
        for (int m = 0; m < N; m++) sum += parts[m * sums + e];
        grads[e] = sum;
    }
    int start = sums;
    for (int layer = 0; layer < 6; layer++) {
        const int columns = wide[layer], rows = columns ? counts[layer] / columns - 1 : 0;
        for (int e = t; e < counts[layer]; e += THREADS) {
            const int i = e / columns;
            real sum = 0;
            for (int m = 0; m < N; m++) {
                const real* theirs = hidden + m * layers;
                const int at = m * features + i;
                real input = 1;  // of the bias, which comes after the weights
                if (i < rows) {
                    if (layer == 0) input = u[at] * v[at];
                    else if (layer == 1) input = u[at] * (mask_s ? mask_s[at] : real(1));
                    else if (layer == 2) input = v[at] * (mask_x ? mask_x[at] : real(1));
                    else if (layer == 3) input = theirs[i] * theirs[S + i];
                    else input = theirs[2 * S + i];
                }
                sum += input * small[m * gradients + place[layer] + e % columns];
            }
            grads[start + e] = sum;
        }
        start += counts[layer];
    }
}
