"""2-D convolution in plain Numba loops, for every kernel size, stride, padding and grouping.

The equations are in `numpy_ref`. What a window sees of one image row lies together in memory: with
NHWC, what offset (u, v) and channel c of a window multiply is the number u W C + v C + c after the
window's first. So a window is a few pieces of `run` numbers, one for each u; with groups, whose
channels are only C/G of each pixel, one for each (u, v). NumPy works out where the windows start
and how many numbers each piece is behind that; what remains is a product of matrices whose left one
is read in place,

    y  (windows, CO)      = pieces of the windows (windows, K) times w (K, CO),     K = KH KW C/G
    gw (K, CO)            = the same pieces, transposed, times gy (windows, CO)

Both work on a small tile of sums, LANES columns wide, that stays in the first-level cache. The
innermost loop walks along the tile, whose rows are a constant distance apart, so the compiler sees
that nothing overlaps and makes vector code of it; each trip takes several windows times several
products, so that what is loaded is used more than once. 6 x 2 and 4 x 3 are the fastest that need
no more than the vector registers (4 x 4 spills, and is half as fast).

The input gradient is a convolution too: see `input_grad`. Depthwise convolutions have loops
of their own, along the channels.

Forward runs in parallel over outputs. The weight gradient sums over all windows, in chunks whose
number depends on the shapes alone; each chunk has a sum of its own, and these are added in order.
So any number of threads gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minissr.kernels.geometry import Array, Padding, Size, cut, output_size, pad
from minissr.kernels.jit import njit, pjit, prange

LANES = 32  # columns of a tile: output channels worked on together
VECTOR = 16  # ... and a whole number of these, which saves the compiler's loop for the odd ones
TASK = 120  # windows a thread takes at a time
CHUNKS = 16  # at most so many partial sums of a weight gradient
PARTIAL_SUMS = 1 << 22  # ... with at most so many numbers in them


@njit
def aligned(count, dtype):
    """`count` zeros that start on a cache line; vectors that straddle two are slow."""
    memory = np.zeros(count + 16, dtype)
    skip = (64 - memory.ctypes.data % 64) // memory.itemsize
    return memory[skip : skip + count]


@njit
def copy(source, target):
    """The first numbers of `source` into `target`."""
    for i in range(len(target)):
        target[i] = source[i]


@njit
def spread(tile, bias):
    """Every row of the tile = `bias`."""
    for r in range(6):
        copy(bias, tile[r * LANES : r * LANES + len(bias)])


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
def convolve(x, image_size, starts, skips, run, w, bias, y):
    """y (windows, CO) = the windows of `x` times `w`, plus `bias`.

    `x` is the whole batch as flat memory, `starts` has the windows of one image, `skips`
    (G, pieces) the pieces of a window, `w` (G, panels, K LANES) the weights from `in_panels`.
    """
    count, og = len(y), y.shape[1] // len(w)
    for task in prange((count + TASK - 1) // TASK):
        tile, at = aligned(6 * LANES, x.dtype), np.empty(6, np.int64)
        first = task * TASK
        end = min(first + TASK, count)
        image, window = first // len(starts), first % len(starts)
        for q in range(first, end, 6):
            for r in range(6):
                at[r] = image * image_size + starts[window]
                if q + r + 1 < count:  # past the last window, the last again
                    window += 1
                    if window == len(starts):
                        image, window = image + 1, 0
            for g in range(w.shape[0]):
                for panel in range(w.shape[1]):
                    left = g * og + panel * LANES
                    columns = min(LANES, og - panel * LANES)
                    whole = -(-columns // VECTOR) * VECTOR  # more columns than asked: all zeros
                    spread(tile, bias[left : left + columns])
                    for piece in range(skips.shape[1]):
                        weights = w[g, panel, piece * run * LANES : (piece + 1) * run * LANES]
                        add_products(tile, x, at, skips[g, piece], run, weights, whole)
                    for r in range(min(6, end - q)):
                        copy(tile[r * LANES :], y[q + r, left : left + columns])


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
def correlate(x, image_size, starts, skips, run, gy, rows, sums):
    """The weight gradient by chunk: `sums` (chunks, G, panels, K LANES), zeros at first.

    A thread takes one chunk of the windows and the pieces of one of the kernel's `rows`, so that
    the sums it adds to stay in its cache.
    """
    chunks, groups, panels, _ = sums.shape
    count, og = len(gy), gy.shape[1] // groups
    pieces = skips.shape[1] // rows
    for task in prange(chunks * rows):
        chunk, row = task // rows, task % rows
        at = np.empty(4, np.int64)
        first, end = chunk * count // chunks, (chunk + 1) * count // chunks
        image, window = first // len(starts), first % len(starts)
        for q in range(first, end, 4):
            height = min(4, end - q)
            for r in range(height):
                at[r] = image * image_size + starts[window]
                window += 1
                if window == len(starts):
                    image, window = image + 1, 0
            for g in range(groups):
                for panel in range(panels):
                    left = g * og + panel * LANES
                    columns = min(LANES, og - panel * LANES)
                    for piece in range(row * pieces, (row + 1) * pieces):
                        skip = skips[g, piece]
                        tile = sums[
                            chunk, g, panel, piece * run * LANES : (piece + 1) * run * LANES
                        ]
                        if height == 4:
                            four = gy[q : q + 4]
                            add_outer_products(tile, x, at, skip, run, four, left, columns)
                        else:
                            for r in range(height):
                                seen = x[at[r] + skip : at[r] + skip + run]
                                add_outer_product(tile, seen, gy[q + r, left : left + columns])


@pjit
def convolve_depthwise(x, w, bias, stride, y):
    """`convolve` for one input and one output channel a group; w is (KH, KW, C)."""
    n, oh, ow, _ = y.shape
    kh, kw, _ = w.shape
    for row in prange(n * oh):
        image, i = row // oh, row % oh
        for j in range(ow):
            out = y[image, i, j]
            copy(bias, out)
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
                        seen = x[image, i * stride[0] + u, j * stride[1] + v]
                        total = sums[chunk, u, v]
                        for c in range(len(g)):
                            total[c] += seen[c] * g[c]


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """`np.zeros`, starting on a cache line."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    skip = -memory.ctypes.data % 64
    return memory[skip : skip + size].view(dtype).reshape(shape)


def places(x: Array, size: Size, out: Size, stride: Size, groups: int) -> tuple[Array, Array, int]:
    """Where the windows of an image of `x` start, their pieces by group (G, pieces), and `run`."""
    _, _, width, c = x.shape
    row = width * c
    starts = np.arange(out[0])[:, None] * (stride[0] * row) + np.arange(out[1]) * (stride[1] * c)
    if groups == 1:
        return starts.ravel(), np.arange(size[0])[None] * row, size[1] * c
    pieces = np.arange(size[0])[:, None] * row + np.arange(size[1]) * c
    return starts.ravel(), np.arange(groups)[:, None] * (c // groups) + pieces.ravel(), c // groups


def in_panels(w: Array, groups: int) -> Array:
    """The weights by group, each with LANES columns side by side: (G, panels, K LANES)."""
    kh, kw, cg, co = w.shape
    k, og = kh * kw * cg, co // groups
    panels = -(-og // LANES)
    columns = np.zeros((k, groups, panels * LANES), w.dtype)
    columns[:, :, :og] = w.reshape(k, groups, og)
    by_panel = columns.reshape(k, groups, panels, LANES).transpose(1, 2, 0, 3)
    return by_panel.reshape(groups, panels, k * LANES)


def from_panels(panels: Array, w_shape: tuple[int, ...], groups: int) -> Array:
    """Undo `in_panels`: (G, panels, K LANES) -> (KH, KW, C/G, CO)."""
    kh, kw, cg, co = w_shape
    k, og = kh * kw * cg, co // groups
    by_panel = panels.reshape(groups, panels.shape[1], k, LANES).transpose(2, 0, 1, 3)
    columns = by_panel.reshape(k, groups, panels.shape[1] * LANES)[:, :, :og]
    return np.ascontiguousarray(columns).reshape(w_shape)


def chunk_count(windows: int, numbers: int) -> int:
    """How many partial sums of `numbers` numbers a weight gradient over `windows` windows gets."""
    return max(1, min(CHUNKS, windows // 32, PARTIAL_SUMS // numbers))


def forward(
    x: Array, w: Array, bias: Array | None, stride: Size, padding: Padding, groups: int
) -> Array:
    """Convolve `x` (N, H, W, C) with `w` (KH, KW, C/groups, CO), giving (N, OH, OW, CO)."""
    kh, kw, cg, co = w.shape
    oh, ow = output_size(x.shape[1], x.shape[2], (kh, kw), stride, padding)
    y = np.empty((x.shape[0], oh, ow, co), x.dtype)
    if bias is None:
        bias = np.zeros(co, x.dtype)
    x = pad(x, padding)
    if cg == 1 and co == groups:
        convolve_depthwise(x, w.reshape(kh, kw, co), bias, stride, y)
    else:
        starts, skips, run = places(x, (kh, kw), (oh, ow), stride, groups)
        weights, flat_y = in_panels(w, groups), y.reshape(-1, co)
        convolve(x.reshape(-1), x[:1].size, starts, skips, run, weights, bias, flat_y)
    return y


def input_grad(
    gy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
    convolution: Callable[..., Array] = forward,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, CO).

    Row h of the image is under row u of window i if i a + u = h + top, for stride a. For the rows
    h = f + a r, r = 0, 1, ..., that leaves u = u0 + a t with u0 = (f + top) mod a, and
    i = r + s - t with s = (f + top) div a. The same holds for the columns. So the pixels of one
    phase f are a convolution of gy, of stride 1, with every a-th row of the kernel, turned around:
    its window r begins T - 1 - s rows above gy, for T such rows. `convolution` computes it.
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
                part = convolution(around, taps, None, (1, 1), (0, 0, 0, 0), groups)
                if stride == (1, 1):
                    return part
                gx[:, fh::sh, fw::sw] = part  # (N, rows, columns, C)
    return gx


def backward_weights(w: Array, groups: int) -> Array:
    """`w` with inputs and outputs exchanged: (KH, KW, C/G, CO) -> (KH, KW, CO/G, C)."""
    kh, kw, cg, co = w.shape
    by_group = w.reshape(kh, kw, cg, groups, co // groups).transpose(0, 1, 4, 3, 2)
    return by_group.reshape(kh, kw, co // groups, groups * cg)


def weight_grad(
    x: Array,
    gy: Array,
    w_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
) -> Array:
    """The gradient (KH, KW, C/groups, CO) with respect to the weights."""
    kh, kw, cg, co = w_shape
    n, oh, ow, _ = gy.shape
    x = pad(x, padding)
    if cg == 1 and co == groups:
        sums = np.zeros((chunk_count(n * oh * ow, kh * kw * co), kh, kw, co), x.dtype)
        correlate_depthwise(x, gy, stride, sums)
        return sums.sum(axis=0).reshape(w_shape)
    starts, skips, run = places(x, (kh, kw), (oh, ow), stride, groups)
    panels = -(-co // (groups * LANES))
    numbers = kh * kw * cg * groups * panels * LANES
    chunks = chunk_count(n * oh * ow, numbers)
    sums = aligned_zeros((chunks, groups, panels, kh * kw * cg * LANES), x.dtype)
    correlate(x.reshape(-1), x[:1].size, starts, skips, run, gy.reshape(-1, co), kh, sums)
    return from_panels(sums.sum(axis=0), w_shape, groups)
