"""One side of a fusion block on vector registers: the map is read once, nothing of its size kept.

A window of the pooling is worked on at a time: its pixels through the 1x1 convolution, eight in a
tile, and the maximum or the sum of their ReLUs stays in a register. The ten channels are padded
with zeros to whole registers, here called `wide`.

Kept for backward: for the average a byte for each pixel and channel, whether it is above 0; for
the maximum a byte for each window and channel, which pixel won (`NOBODY` if none is above 0).
Backward of the average writes the gradient of a window's pixels to a small array, and from there
adds it to the weights' gradient and multiplies it into the map's gradient. Of the maximum only the
winners have a gradient: one pixel of a window for each channel, and nothing else is touched. The
weights' gradient is (CO, C) on the way, for a window's pixels lie one after the other along C.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.conv2d.numba_simd import (
    PAIR,
    chunk_count,
    over_pixels,
    part,
    slide,
    whole_registers,
    widened,
)
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    ROWS,
    add,
    choose,
    flag,
    flagged,
    fma,
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


@njit(forceinline=True)
def pool_four(h, first, sofar, winner, is_max, keeps, kept, kept_at, wide):
    """Take four more pixels in."""
    a, b, c, d = h
    sofar, winner = pool_pixel(a, first, sofar, winner, is_max, keeps, kept, kept_at, wide)
    sofar, winner = pool_pixel(b, first + 1, sofar, winner, is_max, keeps, kept, kept_at, wide)
    sofar, winner = pool_pixel(c, first + 2, sofar, winner, is_max, keeps, kept, kept_at, wide)
    return pool_pixel(d, first + 3, sofar, winner, is_max, keeps, kept, kept_at, wide)


@njit
def fuse_window(
    x, corner, row, c, w, w_at, bias, bias_at, wide, size, is_max, keeps, kept, kept_at
):
    """LANES pooled numbers of one window of `x`; `keeps` says whether to fill `kept`."""
    pixels = size * size
    eights = pixels - pixels % 8
    sofar, winner = zeros(), same_flags(NOBODY)
    for first in range(0, eights, 8):
        start = corner + first // size * row + first % size * c
        places = wrapped_run(start, first % size, size, c, row, 8)
        h = slide(load_tile(bias, run(bias_at, 0, 8), 1), x, places, 0, 1, c, w, w_at, wide)
        sofar, winner = pool_four(h[:4], first, sofar, winner, is_max, keeps, kept, kept_at, wide)
        first += 4
        sofar, winner = pool_four(h[4:], first, sofar, winner, is_max, keeps, kept, kept_at, wide)
    for first in range(eights, pixels - 3, 4):
        start = corner + first // size * row + first % size * c
        places = wrapped_run(start, first % size, size, c, row, 4)
        four = slide(load_tile(bias, run(bias_at, 0, 4), 1), x, places, 0, 1, c, w, w_at, wide)
        sofar, winner = pool_four(four, first, sofar, winner, is_max, keeps, kept, kept_at, wide)
    for pixel in range(pixels - pixels % 4, pixels):
        place = (corner + pixel // size * row + pixel % size * c,)
        (one,) = slide((load(bias, bias_at),), x, place, 0, 1, c, w, w_at, wide)
        sofar, winner = pool_pixel(one, pixel, sofar, winner, is_max, keeps, kept, kept_at, wide)
    if is_max:
        if keeps:
            store_flags(kept, kept_at, winner)
        return sofar
    return multiply(sofar, splat(np.float32(1 / pixels)))


@njit
def fuse_image(x, i, w, bias, size, co, is_max, y, y_at, kept):
    """Image `i` of `x`: its cells of `co` numbers, one after the other, to y[y_at] and on.

    w (C, wide) and bias (wide,) are padded, and so the last cell is written, with zeros; see
    `row_length`. `kept` is that of the whole batch.
    """
    _, h, width, c = x.shape
    rows, columns = h // size, width // size
    row, wide = width * c, len(bias)
    window_kept = wide if is_max else size * size * wide
    kept_at = i * rows * columns * window_kept
    for py in range(rows):
        for px in range(columns):
            corner = i * h * row + py * size * row + px * size * c
            for channel in range(0, wide, LANES):
                value = fuse_window(
                    x, corner, row, c, w, channel, bias, channel, wide, size, is_max,
                    True, kept, kept_at + channel,
                )  # fmt: skip
                store(y, y_at + channel, value)  # what is too much, the next cell overwrites
            y_at += co
            kept_at += window_kept


@pjit
def fuse_images(x, w, bias, size, is_max, y, kept):
    """Fill y (N, cells CO) and what backward wants; w (C, wide) and bias (wide,) are padded."""
    cells = (x.shape[1] // size) * (x.shape[2] // size)
    count = y.shape[1]
    for i in prange(len(x)):
        padded = np.empty(count + len(bias), np.float32)
        fuse_image(x, i, w, bias, size, count // cells, is_max, padded, 0, kept)
        for j in range(count):
            y[i, j] = padded[j]


def padded_rows(co: int) -> int:
    """Rows of `add_window_weight_grad`'s result for `co` channels."""
    return -(-co // 4) * 4


def row_length(cells: int, co: int) -> int:
    """How many numbers `fuse_image` wants room for, up to a whole register."""
    return whole_registers(cells * co + -co % LANES)


def room_to_keep(x: np.ndarray, co: int, pool: str, size: int) -> np.ndarray:
    """Memory for what `fuse_image` keeps of all images, flat."""
    n, h, width, _ = x.shape
    pixels = 1 if pool == "max" else size * size
    return np.empty(n * (h // size) * (width // size) * pixels * whole_registers(co), np.uint8)


def forward(x, w, bias, pool, size):
    """`composed.forward` for the maps of `fits`."""
    n, h, width, c = x.shape
    co = w.shape[3]
    y = np.empty((n, h // size, width // size, co), np.float32)
    kept = room_to_keep(x, co, pool, size)
    w_wide = widened(w.reshape(c, co))
    fuse_images(x, w_wide, widened(bias), size, pool == "max", y.reshape(n, -1), kept)
    return y, (kept,)


# ---- backward -----------------------------------------------------------------------------------


@njit
def window_gradient(pooled, kept, kept_at, pixels, wide, g, gbias, bias_at):
    """The gradient `g` (pixels, wide) at an average's pixels; its sum is added to `gbias`."""
    for channel in range(0, wide, LANES):
        value = multiply(load(pooled, channel), splat(np.float32(1 / pixels)))
        sofar = load(gbias, bias_at + channel)
        for pixel in range(pixels):
            bits = load_flags(kept, kept_at + pixel * wide + channel)
            here = select(flagged(bits, 1), value, zeros())
            store(g, pixel * wide + channel, here)
            sofar = add(sofar, here)
        store(gbias, bias_at + channel, sofar)


@njit
def window_input_grad(g, size, co, wide, w_turned, gx, corner, row, c):
    """gx of a window's pixels = g (pixels, wide) @ w_turned (CO, C)."""
    pixels = size * size
    for channel in range(0, c, LANES):
        for first in range(0, pixels - ROWS + 1, ROWS):
            sums = slide(
                registers(ROWS, 1), g, run(first * wide, wide, ROWS), 0, 1, co, w_turned, channel, c
            )
            start = corner + channel + first // size * row + first % size * c
            store_tile(gx, wrapped_run(start, first % size, size, c, row, ROWS), sums)
        for pixel in range(pixels - pixels % ROWS, pixels):
            sums = slide(registers(1, 1), g, (pixel * wide,), 0, 1, co, w_turned, channel, c)
            store(gx, corner + channel + pixel // size * row + pixel % size * c, sums[0])


@njit
def add_window_weight_grad(x, corner, row, c, g, size, co, wide, gw, gw_at):
    """gw (CO, C) += g (pixels, wide), turned, times x of a window's pixels.

    Four rows at a time: up to three more than CO, for which g has zeros.
    """
    for j in range(0, co, 4):
        rows = run(j, 1, 4)
        for channel in range(0, c - PAIR + 1, PAIR):
            places, at = run(gw_at + j * c + channel, c, 4), corner + channel
            sums = load_tile(gw, places, 2)
            sums = over_pixels(sums, g, rows, 0, size * wide, wide, x, at, row, c, size, size)
            store_tile(gw, places, sums)
        if c % PAIR:
            places, at = run(gw_at + j * c + c - LANES, c, 4), corner + c - LANES
            sums = load_tile(gw, places, 1)
            sums = over_pixels(sums, g, rows, 0, size * wide, wide, x, at, row, c, size, size)
            store_tile(gw, places, sums)


@njit
def add_winners(
    pooled, kept, kept_at, x, corner, row, c, size, co, w_turned, gx, gw, gw_at, gbias, bias_at
):
    """Add to gx, gw (CO, C) and gbias what the winner of each channel of a window brings."""
    for j in range(co):
        winner = np.intp(kept[kept_at + j])
        if winner == NOBODY:
            continue
        place, g = corner + winner // size * row + winner % size * c, splat(pooled[j])
        gbias[bias_at + j] += pooled[j]
        for channel in range(0, c, LANES):
            at, to = place + channel, gw_at + j * c + channel
            store(gx, at, fma(g, load(w_turned, j * c + channel), load(gx, at)))
            store(gw, to, fma(g, load(x, at), load(gw, to)))


@njit
def fuse_image_gradients(
    gy, gy_at, x, i, w_turned, size, is_max, kept, g, gx, gw, gw_at, gbias, bias_at
):
    """gx of image `i`; its parts of gw (CO, C) and of gbias are added at `gw_at` and `bias_at`.

    gy has the image's cells from `gy_at` on; w_turned (CO, C); g is scratch for a window's pixels
    and a cell, both of padded width.
    """
    _, h, width, c = x.shape
    co, rows, columns = len(w_turned), h // size, width // size
    row, wide, pixels = width * c, -(-co // LANES) * LANES, size * size
    window_kept = wide if is_max else pixels * wide
    kept_at = i * rows * columns * window_kept
    pooled = g[pixels * wide :]
    pooled[:] = 0
    if is_max:
        gx[i] = 0
    else:  # pixels outside all windows
        gx[i, rows * size :] = 0
        gx[i, : rows * size, columns * size :] = 0
    for py in range(rows):
        for px in range(columns):
            for j in range(co):
                pooled[j] = gy[gy_at + j]
            corner = i * h * row + py * size * row + px * size * c
            if is_max:
                add_winners(
                    pooled, kept, kept_at, x, corner, row, c, size, co, w_turned,
                    gx, gw, gw_at, gbias, bias_at,
                )  # fmt: skip
            else:
                window_gradient(pooled, kept, kept_at, pixels, wide, g, gbias, bias_at)
                window_input_grad(g, size, co, wide, w_turned, gx, corner, row, c)
                add_window_weight_grad(x, corner, row, c, g, size, co, wide, gw, gw_at)
            gy_at += co
            kept_at += window_kept


@pjit
def fusion_gradients(gy, x, w_turned, size, is_max, kept, gx, gw, gbias):
    """gx; gw (chunks, CO, C) and gbias (chunks, CO) of chunks of images, both padded."""
    count, wide = gy.shape[1], gbias.shape[1]
    for k in prange(len(gw)):
        scratch = np.empty((size * size + 1) * wide, np.float32)
        gw[k], gbias[k] = 0, 0
        first, end = part(k, len(gw), len(x))
        for i in range(first, end):
            fuse_image_gradients(
                gy.reshape(-1), i * count, x, i, w_turned, size, is_max, kept, scratch,
                gx, gw[k], 0, gbias[k], 0,
            )  # fmt: skip


def backward(gy, x, w, pool, size, saved):
    """`composed.backward` for the maps of `fits`."""
    (kept,) = saved
    c, co = w.shape[2:]
    chunks = chunk_count(len(x))
    gx = np.empty_like(x)
    gw = np.empty((chunks, padded_rows(co), c), np.float32)
    gbias = np.empty((chunks, whole_registers(co)), np.float32)
    w_turned = np.ascontiguousarray(w.reshape(c, co).T)
    gy = gy.reshape(len(x), -1)
    fusion_gradients(gy, x, w_turned, size, pool == "max", kept, gx, gw, gbias)
    gw_sum = np.ascontiguousarray(gw.sum(axis=0)[:co].T)
    return gx, gw_sum.reshape(w.shape), gbias.sum(axis=0)[:co]
