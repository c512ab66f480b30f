"""2-D convolution in plain Numba loops, for every kernel size, stride, padding and grouping.

The equations are in `numpy_ref`. What a window sees of one image row is contiguous in memory: with
NHWC, offset (u, v) and channel c of the window that starts at flat index `at` is the number
x[at + u W C + v C + c]. So for each u a convolution is a matrix product whose left matrix is read
in place, windows x (KW C), times the right matrix w[u], (KW C) x CO; the weight gradient is the
product of the same left matrix, transposed, with gy. With groups, a row of a window is KW pieces of
C/G numbers instead of one of KW C.

Both products work on a small tile of sums, LANES columns wide, that stays in the first-level cache.
The innermost loop walks along the tile, whose rows are a constant distance apart, so the compiler
sees that nothing overlaps and turns it into vector code; each trip takes several windows times
several products, so that what is loaded is used more than once. 6 x 2 and 4 x 3 were the fastest
shapes that don't spill registers (4 x 4 does, and is half as fast).

The input gradient is a convolution too: see `conv2d_input_grad`. Depthwise convolutions have loops
of their own, along the channels.

Forward runs in parallel over outputs. The weight gradient sums over all windows, in chunks whose
number depends on the shapes alone; each chunk has a sum of its own, and these are added in order.
So any number of threads gives the same bits.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array, Padding, Size, cut, output_size, pad
from minissr.kernels.jit import njit, pjit, prange

LANES = 32  # columns of a tile: output channels worked on together
TASK = 120  # windows a thread takes at a time
CHUNKS = 16  # at most so many partial sums of a weight gradient
PARTIAL_SUMS = 1 << 22  # ... with at most so many numbers in them


@njit
def aligned(count, dtype):
    """`count` numbers that start on a cache line; vectors that straddle two are slow."""
    memory = np.empty(count + 16, dtype)
    skip = (64 - memory.ctypes.data % 64) // memory.itemsize
    return memory[skip : skip + count]


@njit
def window_starts(oh, ow, stride, row, channels):
    """The flat index, in an image with `row` numbers a row, at which each window starts."""
    starts = np.empty(oh * ow, np.int64)
    for i in range(oh):
        for j in range(ow):
            starts[i * ow + j] = i * stride[0] * row + j * stride[1] * channels
    return starts


@njit
def in_panels(w, groups):
    """`w` with LANES columns side by side: (G, panels, KH KW C/G x LANES)."""
    kh, kw, cg, co = w.shape
    k, og = kh * kw * cg, co // groups
    panels = (og + LANES - 1) // LANES
    matrix = w.reshape(k, co)
    packed = aligned(groups * panels * k * LANES, w.dtype).reshape(groups, panels, k, LANES)
    packed[:] = 0
    for g in range(groups):
        for o in range(og):
            packed[g, o // LANES, :, o % LANES] = matrix[:, g * og + o]
    return packed.reshape(groups, panels, k * LANES)


@njit
def add_products(tile, x, at, skip, run, w, columns):
    """tile[r] += sum_k x[at[r] + skip + k] w[k], for six windows r and `run` numbers k."""
    columns = min(columns, LANES)
    x0 = x[at[0] + skip : at[0] + skip + run]
    x1 = x[at[1] + skip : at[1] + skip + run]
    x2 = x[at[2] + skip : at[2] + skip + run]
    x3 = x[at[3] + skip : at[3] + skip + run]
    x4 = x[at[4] + skip : at[4] + skip + run]
    x5 = x[at[5] + skip : at[5] + skip + run]
    pairs = run - run % 2
    for k in range(0, pairs, 2):
        a0, a1, a2, a3, a4, a5 = x0[k], x1[k], x2[k], x3[k], x4[k], x5[k]
        b0, b1, b2, b3, b4, b5 = x0[k + 1], x1[k + 1], x2[k + 1], x3[k + 1], x4[k + 1], x5[k + 1]
        two = w[k * LANES : (k + 2) * LANES]
        for o in range(columns):
            v, z = two[o], two[o + LANES]
            tile[o] = b0 * z + (a0 * v + tile[o])
            tile[o + LANES] = b1 * z + (a1 * v + tile[o + LANES])
            tile[o + 2 * LANES] = b2 * z + (a2 * v + tile[o + 2 * LANES])
            tile[o + 3 * LANES] = b3 * z + (a3 * v + tile[o + 3 * LANES])
            tile[o + 4 * LANES] = b4 * z + (a4 * v + tile[o + 4 * LANES])
            tile[o + 5 * LANES] = b5 * z + (a5 * v + tile[o + 5 * LANES])
    for k in range(pairs, run):
        a0, a1, a2, a3, a4, a5 = x0[k], x1[k], x2[k], x3[k], x4[k], x5[k]
        last = w[k * LANES : (k + 1) * LANES]
        for o in range(columns):
            v = last[o]
            tile[o] += a0 * v
            tile[o + LANES] += a1 * v
            tile[o + 2 * LANES] += a2 * v
            tile[o + 3 * LANES] += a3 * v
            tile[o + 4 * LANES] += a4 * v
            tile[o + 5 * LANES] += a5 * v


@pjit
def convolve(x, w, bias, stride, groups, y):
    """y (N, OH, OW, CO) = the convolution of `x` (N, H, W, C), already padded, with `w`."""
    n, h, width, c = x.shape
    kh, kw, cg, co = w.shape
    og = co // groups
    pieces, run = (1, kw * c) if groups == 1 else (kw, cg)
    starts = window_starts(y.shape[1], y.shape[2], stride, width * c, c)
    count = n * len(starts)
    numbers, out, packed = x.reshape(-1), y.reshape(count, co), in_panels(w, groups)
    for task in prange((count + TASK - 1) // TASK):
        tile, at = aligned(6 * LANES, x.dtype), np.empty(6, np.int64)
        first = task * TASK
        end = min(first + TASK, count)
        image, window = first // len(starts), first % len(starts)
        for q in range(first, end, 6):
            for r in range(6):
                at[r] = image * h * width * c + starts[window]
                if q + r + 1 < count:  # past the last window, the last again
                    window += 1
                    if window == len(starts):
                        image, window = image + 1, 0
            for g in range(groups):
                for panel in range(packed.shape[1]):
                    left = g * og + panel * LANES
                    right = min(left + LANES, (g + 1) * og)
                    for r in range(6):
                        tile[r * LANES : r * LANES + right - left] = bias[left:right]
                    for u in range(kh):
                        for piece in range(pieces):
                            k = (u * pieces + piece) * run
                            add_products(
                                tile,
                                numbers,
                                at,
                                (u * width + piece) * c + g * cg,
                                run,
                                packed[g, panel, k * LANES : (k + run) * LANES],
                                right - left,
                            )
                    for r in range(min(6, end - q)):
                        out[q + r, left:right] = tile[r * LANES : r * LANES + right - left]


@njit
def add_outer_products(tile, x, at, skip, run, gy, left, columns):
    """tile[k] += sum_r x[at[r] + skip + k] gy[r], for `run` numbers k and four windows r."""
    columns = min(columns, LANES)
    g0, g1 = gy[0, left : left + columns], gy[1, left : left + columns]
    g2, g3 = gy[2, left : left + columns], gy[3, left : left + columns]
    x0 = x[at[0] + skip : at[0] + skip + run]
    x1 = x[at[1] + skip : at[1] + skip + run]
    x2 = x[at[2] + skip : at[2] + skip + run]
    x3 = x[at[3] + skip : at[3] + skip + run]
    triples = run - run % 3
    for k in range(0, triples, 3):
        a0, a1, a2, a3 = x0[k], x1[k], x2[k], x3[k]
        b0, b1, b2, b3 = x0[k + 1], x1[k + 1], x2[k + 1], x3[k + 1]
        c0, c1, c2, c3 = x0[k + 2], x1[k + 2], x2[k + 2], x3[k + 2]
        t = tile[k * LANES : (k + 3) * LANES]
        for o in range(columns):
            p, q, r, s = g0[o], g1[o], g2[o], g3[o]
            t[o] = a3 * s + (a2 * r + (a1 * q + (a0 * p + t[o])))
            t[o + LANES] = b3 * s + (b2 * r + (b1 * q + (b0 * p + t[o + LANES])))
            t[o + 2 * LANES] = c3 * s + (c2 * r + (c1 * q + (c0 * p + t[o + 2 * LANES])))
    for k in range(triples, run):
        a0, a1, a2, a3 = x0[k], x1[k], x2[k], x3[k]
        t = tile[k * LANES : (k + 1) * LANES]
        for o in range(columns):
            t[o] = a3 * g3[o] + (a2 * g2[o] + (a1 * g1[o] + (a0 * g0[o] + t[o])))


@njit
def add_outer_product(tile, x, gy):
    """tile[k] += x[k] gy, one window."""
    for k in range(len(x)):
        a, t = x[k], tile[k * LANES : (k + 1) * LANES]
        for o in range(min(len(gy), LANES)):
            t[o] += a * gy[o]


@pjit
def correlate(x, gy, stride, groups, sums):
    """The weight gradient by chunk: `sums` (chunks, KH, G, panels, KW C/G x LANES), zeros at first.

    A thread takes one chunk of the windows and one row u of the kernel, so that the sums it adds to
    stay in its cache.
    """
    n, h, width, c = x.shape
    chunks, kh, _, panels, length = sums.shape
    cg, og = c // groups, gy.shape[3] // groups
    kw = length // (cg * LANES)
    pieces, run = (1, kw * c) if groups == 1 else (kw, cg)
    starts = window_starts(gy.shape[1], gy.shape[2], stride, width * c, c)
    count = n * len(starts)
    numbers, g_out = x.reshape(-1), gy.reshape(count, gy.shape[3])
    for task in prange(chunks * kh):
        chunk, u = task // kh, task % kh
        at = np.empty(4, np.int64)
        first, end = chunk * count // chunks, (chunk + 1) * count // chunks
        image, window = first // len(starts), first % len(starts)
        for q in range(first, end, 4):
            rows = min(4, end - q)
            for r in range(rows):
                at[r] = image * h * width * c + starts[window]
                window += 1
                if window == len(starts):
                    image, window = image + 1, 0
            for g in range(groups):
                for panel in range(panels):
                    left = g * og + panel * LANES
                    right = min(left + LANES, (g + 1) * og)
                    for piece in range(pieces):
                        tile = sums[
                            chunk, u, g, panel, piece * run * LANES : (piece + 1) * run * LANES
                        ]
                        skip = (u * width + piece) * c + g * cg
                        if rows == 4:
                            add_outer_products(
                                tile, numbers, at, skip, run, g_out[q : q + 4], left, right - left
                            )
                        else:
                            for r in range(rows):
                                seen = numbers[at[r] + skip : at[r] + skip + run]
                                add_outer_product(tile, seen, g_out[q + r, left:right])


@pjit
def convolve_depthwise(x, w, bias, stride, y):
    """`convolve` for one input and one output channel a group; w is (KH, KW, C)."""
    n, oh, ow, _ = y.shape
    kh, kw, _ = w.shape
    for row in prange(n * oh):
        image, i = row // oh, row % oh
        for j in range(ow):
            out = y[image, i, j]
            out[:] = bias
            for u in range(kh):
                for v in range(kw):
                    seen, weight = x[image, i * stride[0] + u, j * stride[1] + v], w[u, v]
                    for c in range(len(out)):
                        out[c] += seen[c] * weight[c]


@pjit
def correlate_depthwise(x, gy, stride, sums):
    """`correlate` for one input and one output channel a group; `sums` (chunks, KH, KW, C)."""
    n, oh, ow, _ = gy.shape
    chunks, kh, kw, _ = sums.shape
    for chunk in prange(chunks):
        for row in range(chunk * n * oh // chunks, (chunk + 1) * n * oh // chunks):
            image, i = row // oh, row % oh
            for j in range(ow):
                g = gy[image, i, j]
                for u in range(kh):
                    for v in range(kw):
                        seen, total = (
                            x[image, i * stride[0] + u, j * stride[1] + v],
                            sums[chunk, u, v],
                        )
                        for c in range(len(g)):
                            total[c] += seen[c] * g[c]


def chunk_count(windows: int, size: int) -> int:
    """How many partial sums of `size` numbers a weight gradient over `windows` windows gets."""
    return max(1, min(CHUNKS, windows // 32, PARTIAL_SUMS // size))


@register("conv2d_forward", "numba")
def conv2d_forward(
    x: Array, w: Array, bias: Array | None, stride: Size, padding: Padding, groups: int
) -> Array:
    """Convolve `x` (N, H, W, C) with `w` (KH, KW, C/groups, CO), giving (N, OH, OW, CO)."""
    kh, kw, cg, co = w.shape
    oh, ow = output_size(x.shape[1], x.shape[2], (kh, kw), stride, padding)
    y = np.empty((x.shape[0], oh, ow, co), x.dtype)
    if bias is None:
        bias = np.zeros(co, x.dtype)
    if cg == 1 and co == groups:
        convolve_depthwise(pad(x, padding), w.reshape(kh, kw, co), bias, stride, y)
    else:
        convolve(pad(x, padding), w, bias, stride, groups, y)
    return y


@register("conv2d_input_grad", "numba")
def conv2d_input_grad(
    gy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, CO).

    Row h of the image is under row u of window i if i a + u = h + top, for stride a. For the rows
    h = f + a r, r = 0, 1, ..., that leaves u = u0 + a t with u0 = (f + top) mod a, and
    i = r + s - t with s = (f + top) div a. The same holds for the columns. So the pixels of one
    phase f are a convolution of gy, of stride 1, with every a-th row of the kernel, turned around:
    its window r begins T - 1 - s rows above gy, for T such rows.
    """
    (sh, sw), (_, h, width, _) = stride, x_shape
    whole = backward_weights(w, groups)
    gx = np.zeros(x_shape, gy.dtype)
    for fh in range(min(sh, h)):
        for fw in range(min(sw, width)):
            s, u0 = divmod(fh + padding[0], sh)
            z, v0 = divmod(fw + padding[2], sw)
            taps = np.ascontiguousarray(whole[u0::sh, v0::sw][::-1, ::-1])  # (T, TW, CO/G, C)
            t, tw = taps.shape[:2]
            if t and tw:  # a stride larger than the kernel leaves pixels that no window sees
                rows, columns = len(range(fh, h, sh)), len(range(fw, width, sw))
                around = cut(gy, s - t + 1, z - tw + 1, rows + t - 1, columns + tw - 1)
                part = conv2d_forward(around, taps, None, (1, 1), (0, 0, 0, 0), groups)
                if stride == (1, 1):
                    return part
                gx[:, fh::sh, fw::sw] = part  # (N, rows, columns, C)
    return gx


def backward_weights(w: Array, groups: int) -> Array:
    """`w` with inputs and outputs exchanged: (KH, KW, C/G, CO) -> (KH, KW, CO/G, C)."""
    kh, kw, cg, co = w.shape
    by_group = w.reshape(kh, kw, cg, groups, co // groups).transpose(0, 1, 4, 3, 2)
    return by_group.reshape(kh, kw, co // groups, groups * cg)


@register("conv2d_weight_grad", "numba")
def conv2d_weight_grad(
    x: Array,
    gy: Array,
    w_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
) -> Array:
    """The gradient (KH, KW, C/groups, CO) with respect to the weights."""
    kh, kw, cg, co = w_shape
    windows = gy.shape[0] * gy.shape[1] * gy.shape[2]
    if cg == 1 and co == groups:
        sums = np.zeros((chunk_count(windows, kh * kw * co), kh, kw, co), x.dtype)
        correlate_depthwise(pad(x, padding), gy, stride, sums)
        return sums.sum(axis=0).reshape(w_shape)
    og = co // groups
    panels = -(-og // LANES)
    size = kh * groups * panels * kw * cg * LANES
    sums = np.zeros((chunk_count(windows, size), kh, groups, panels, kw * cg * LANES), x.dtype)
    correlate(pad(x, padding), gy, stride, groups, sums)
    gw = sums.sum(axis=0).reshape(kh, groups, panels, kw, cg, LANES)
    gw = gw.transpose(0, 3, 4, 1, 2, 5).reshape(kh, kw, cg, groups, panels * LANES)
    return np.ascontiguousarray(gw[..., :og]).reshape(w_shape)
