"""One side of a fusion block on vector registers: the map is read once, nothing of its size kept.

A window of the pooling is worked on at a time: its pixels through the 1x1 convolution, four in a
tile, and the maximum or the sum of their ReLUs stays in a register. The ten channels are padded
with zeros to whole registers, here called `wide`.

Kept for backward: for the average a byte for each pixel and channel, whether it is above 0; for
the maximum a byte for each window and channel, which pixel won (`NOBODY` if none is above 0).
Backward writes the gradient of a window's pixels to a small array, and from there adds it to the
weights' gradient and multiplies it into the map's gradient.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.conv2d.numba_simd import chunk_count, over_pixels, part, slide
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    ROWS,
    add,
    choose,
    equal,
    flag,
    flagged,
    greater,
    load,
    load_flags,
    load_tile,
    multiply,
    registers,
    run,
    same_flags,
    select,
    splat,
    store,
    store_flags,
    store_tile,
    wrapped_run,
    zeros,
)

NOBODY = 255
LARGEST_WINDOW = 15  # a pixel of a window has a number below NOBODY


def fits(x: np.ndarray, size: int) -> bool:
    """Whether these kernels compute a fusion of this kind."""
    return x.dtype == np.float32 and x.shape[3] % LANES == 0 and size <= LARGEST_WINDOW


def widened(array: np.ndarray) -> np.ndarray:
    """`array` (..., CO) with zeros up to whole registers."""
    *outer, co = array.shape
    wide = np.zeros((*outer, -(-co // LANES) * LANES), np.float32)
    wide[..., :co] = array
    return wide


# ---- forward ------------------------------------------------------------------------------------


@njit(forceinline=True)
def pool_pixel(h, pixel, sofar, winner, is_max, keeps, kept, kept_at, wide):
    """Take one more pixel into a window's result: (result so far, number of the winner so far)."""
    if is_max:
        above = greater(h, sofar)
        return select(above, h, sofar), choose(above, pixel, winner)
    above = greater(h, zeros())
    if keeps:
        store_flags(kept, kept_at + pixel * wide, flag(above, 1))
    return add(sofar, select(above, h, zeros())), winner


@njit
def fuse_window(
    x, corner, row, c, w, w_at, bias, bias_at, wide, size, is_max, keeps, kept, kept_at
):
    """LANES pooled numbers of one window of `x`; `keeps` says whether to fill `kept`."""
    pixels = size * size
    sofar, winner = zeros(), same_flags(NOBODY)
    for first in range(0, pixels - 3, 4):
        start = corner + first // size * row + first % size * c
        places = wrapped_run(start, first % size, size, c, row, 4)
        four = load_tile(bias, run(bias_at, 0, 4), 1)
        h0, h1, h2, h3 = slide(four, x, places, 0, 1, c, w, w_at, wide)
        sofar, winner = pool_pixel(h0, first, sofar, winner, is_max, keeps, kept, kept_at, wide)
        sofar, winner = pool_pixel(h1, first + 1, sofar, winner, is_max, keeps, kept, kept_at, wide)
        sofar, winner = pool_pixel(h2, first + 2, sofar, winner, is_max, keeps, kept, kept_at, wide)
        sofar, winner = pool_pixel(h3, first + 3, sofar, winner, is_max, keeps, kept, kept_at, wide)
    for pixel in range(pixels - pixels % 4, pixels):
        place = (corner + pixel // size * row + pixel % size * c,)
        (h,) = slide((load(bias, bias_at),), x, place, 0, 1, c, w, w_at, wide)
        sofar, winner = pool_pixel(h, pixel, sofar, winner, is_max, keeps, kept, kept_at, wide)
    if is_max:
        if keeps:
            store_flags(kept, kept_at, winner)
        return sofar
    return multiply(sofar, splat(np.float32(1 / pixels)))


@pjit
def fuse_images(x, w, bias, size, is_max, y, kept):
    """Fill y and what backward wants; w (C, wide) and bias (wide,) are padded, y (..., CO) not."""
    n, h, width, c = x.shape
    _, rows, columns, co = y.shape
    row, wide = width * c, len(bias)
    window_kept = wide if is_max else size * size * wide
    for i in prange(n):
        pooled = np.empty(wide, np.float32)
        for py in range(rows):
            for px in range(columns):
                corner = i * h * row + py * size * row + px * size * c
                kept_at = ((i * rows + py) * columns + px) * window_kept
                for channel in range(0, wide, LANES):
                    value = fuse_window(
                        x, corner, row, c, w, channel, bias, channel, wide, size, is_max,
                        True, kept, kept_at + channel,
                    )  # fmt: skip
                    store(pooled, channel, value)
                for j in range(co):
                    y[i, py, px, j] = pooled[j]


def forward(x, w, bias, pool, size):
    """`composed.forward` for the maps of `fits`."""
    n, h, width, c = x.shape
    rows, columns, co = h // size, width // size, w.shape[3]
    w_wide, bias_wide = widened(w.reshape(c, co)), widened(bias)
    y = np.empty((n, rows, columns, co), np.float32)
    pixels = 1 if pool == "max" else size * size
    kept = np.empty((n, rows, columns, pixels, len(bias_wide)), np.uint8)
    fuse_images(x, w_wide, bias_wide, size, pool == "max", y, kept)
    return y, (kept,)


# ---- backward -----------------------------------------------------------------------------------


@njit
def window_gradient(gy, kept, kept_at, pixels, wide, is_max, g, gbias):
    """The gradient `g` (pixels, wide) at a window's pixels; its sum is added to `gbias`."""
    nothing = zeros()
    for channel in range(0, wide, LANES):
        value, sofar = load(gy, channel), load(gbias, channel)
        if is_max:
            winner = load_flags(kept, kept_at + channel)
            sofar = add(sofar, select(equal(winner, NOBODY), nothing, value))
            for pixel in range(pixels):
                store(g, pixel * wide + channel, select(equal(winner, pixel), value, nothing))
        else:
            value = multiply(value, splat(np.float32(1 / pixels)))
            for pixel in range(pixels):
                bits = load_flags(kept, kept_at + pixel * wide + channel)
                here = select(flagged(bits, 1), value, nothing)
                store(g, pixel * wide + channel, here)
                sofar = add(sofar, here)
        store(gbias, channel, sofar)


@njit
def window_input_grad(g, size, co, wide, w_turned, gx, corner, row, c):
    """gx of a window's pixels = g (pixels, wide) @ w_turned (CO, C)."""
    pixels = size * size
    for channel in range(0, c, LANES):
        for first in range(0, pixels - 3, 4):
            sums = slide(
                registers(4, 1), g, run(first * wide, wide, 4), 0, 1, co, w_turned, channel, c
            )
            start = corner + channel + first // size * row + first % size * c
            store_tile(gx, wrapped_run(start, first % size, size, c, row, 4), sums)
        for pixel in range(pixels - pixels % 4, pixels):
            sums = slide(registers(1, 1), g, (pixel * wide,), 0, 1, co, w_turned, channel, c)
            store(gx, corner + channel + pixel // size * row + pixel % size * c, sums[0])


@njit
def add_window_weight_grad(x, corner, row, c, g, size, wide, gw):
    """gw (C, wide) += x of a window's pixels, times g."""
    for tap in range(0, c, ROWS):
        taps = run(tap, 1, ROWS)
        for channel in range(0, wide, LANES):
            places = run(tap * wide + channel, wide, ROWS)
            sums = over_pixels(
                load_tile(gw, places, 1),
                x, taps, corner, row, c, g, channel, size * wide, wide, size, size,
            )  # fmt: skip
            store_tile(gw, places, sums)


@pjit
def fusion_gradients(gy, x, w_turned, size, is_max, kept, gx, gw, gbias):
    """gx; gw and gbias of every chunk of images, zeros at first."""
    n, h, width, c = x.shape
    _, rows, columns, co = gy.shape
    row, wide = width * c, gw.shape[2]
    pixels = size * size
    window_kept = wide if is_max else pixels * wide
    for k in prange(len(gw)):
        g, pooled = np.empty(pixels * wide, np.float32), np.zeros(wide, np.float32)
        first, end = part(k, len(gw), n)
        for i in range(first, end):
            gx[i, rows * size :] = 0  # pixels outside all windows
            gx[i, : rows * size, columns * size :] = 0
            for py in range(rows):
                for px in range(columns):
                    for j in range(co):
                        pooled[j] = gy[i, py, px, j]
                    kept_at = ((i * rows + py) * columns + px) * window_kept
                    window_gradient(pooled, kept, kept_at, pixels, wide, is_max, g, gbias[k])
                    corner = i * h * row + py * size * row + px * size * c
                    window_input_grad(g, size, co, wide, w_turned, gx, corner, row, c)
                    add_window_weight_grad(x, corner, row, c, g, size, wide, gw[k])


def backward(gy, x, w, pool, size, saved):
    """`composed.backward` for the maps of `fits`."""
    (kept,) = saved
    c, co = w.shape[2:]
    wide, chunks = kept.shape[-1], chunk_count(len(x))
    gx = np.empty_like(x)
    gw, gbias = np.zeros((chunks, c, wide), np.float32), np.zeros((chunks, wide), np.float32)
    w_turned = np.ascontiguousarray(w.reshape(c, co).T)
    fusion_gradients(gy, x, w_turned, size, pool == "max", kept, gx, gw, gbias)
    gw_sum = gw.sum(axis=0)[:, :co].reshape(w.shape)
    return gx, gw_sum, gbias.sum(axis=0)[:co]
