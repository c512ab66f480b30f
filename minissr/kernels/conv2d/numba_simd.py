"""Convolution on vector registers, of stride 1 and without padding.

The three sums of a convolution are products of matrices that need not be built, because NHWC
keeps what they multiply in consecutive memory: under row u of a window lie KW C consecutive
numbers, and under the window's next position the same shifted by C. See `tiles.outer`.

    forward          tile of ROWS output pixels x 2 registers of output channels (or TALL x 1,
                     where one register is all there are); the sum runs over the window
    input's gradient the same, of the output's gradient with KH - 1 rows and KW - 1 columns of
                     zeros around, with the kernel turned by 180 degrees
    weights'         tile of ROWS (or TALL) positions in the window x 2 registers (or 1) of output
                     channels; the sum runs over the pixels

All three reached 90 to 98 % of what a Zen 4 can multiply; a processor that multiplies two registers
an instant is also kept waiting for loads. Arrays are used as flat memory and
places are flat indices, so an image of a batch or a part of a scratch array is named by where it
starts. Output channels must fill registers (a multiple of LANES): `forward` and `weight_grad` fill
them up with zeros where that is no more than three quarters wasted. Anything else is for the plain
loops of `numba_loops`.
"""

from __future__ import annotations

import math

import numpy as np

from minissr.kernels.geometry import Size
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    ROWS,
    load_tile,
    outer,
    registers,
    run,
    store_tile,
    wrapped_run,
)

# Rows of a tile one register wide, where that is all of the channels: with ROWS there would be no
# more sums than multiply-adds under way, and more than one load for each.
TALL = 2 * ROWS
PAIR = 2 * LANES  # output channels in a tile two registers wide
# In so many parts a sum over a batch is cut at most: fixed, so that the bits of the result don't
# depend on the threads; 1, 2, 3, 4, 6, 8, 12 and 24 of these get equally many parts.
PARTS = 24
LARGEST_PARTS = 1 << 22  # numbers in all partial sums of a weight gradient together


@njit(forceinline=True)
def slide(sums, x, pixels, row, kh, k, w, at, co):
    """Add to the tile what its pixels see through the window.

    `pixels` are the places of the windows' first numbers in `x`, `row` is the distance between
    two image rows, k = KW C, and `at` the place of the tile's first channel in `w`.
    """
    for u in range(kh):
        for i in range(u * row, u * row + k):
            sums = outer(sums, x, pixels, i, w, at)
            at += co
    return sums


@njit
def correlate_image(x, x_at, h, w, c, weights, kh, kw, y, y_at, co, adds):
    """y (OH, OW, CO) = x (H, W, C) * weights (KH, KW, C, CO), the images at x_at and y_at.

    `adds` says whether to add to what `y` holds.
    """
    row, ow = w * c, w - kw + 1
    total = (h - kh + 1) * ow
    first = 0
    while co == LANES and first + TALL <= total:
        start = x_at + first // ow * row + first % ow * c
        pixels = wrapped_run(start, first % ow, ow, c, row, TALL)
        places = run(y_at + first * co, co, TALL)
        sums = load_tile(y, places, 1) if adds else registers(TALL, 1)
        store_tile(y, places, slide(sums, x, pixels, row, kh, kw * c, weights, 0, co))
        first += TALL
    while first < total:
        if first + ROWS <= total:
            start = x_at + first // ow * row + first % ow * c
            pixels = wrapped_run(start, first % ow, ow, c, row, ROWS)
            for channel in range(0, co - PAIR + 1, PAIR):
                places = run(y_at + first * co + channel, co, ROWS)
                sums = load_tile(y, places, 2) if adds else registers(ROWS, 2)
                sums = slide(sums, x, pixels, row, kh, kw * c, weights, channel, co)
                store_tile(y, places, sums)
            if co % PAIR:
                channel = co - LANES
                places = run(y_at + first * co + channel, co, ROWS)
                sums = load_tile(y, places, 1) if adds else registers(ROWS, 1)
                sums = slide(sums, x, pixels, row, kh, kw * c, weights, channel, co)
                store_tile(y, places, sums)
            first += ROWS
        else:  # the last few pixels, one by one
            pixel = (x_at + first // ow * row + first % ow * c,)
            for channel in range(0, co, LANES):
                place = (y_at + first * co + channel,)
                sums = load_tile(y, place, 1) if adds else registers(1, 1)
                sums = slide(sums, x, pixel, row, kh, kw * c, weights, channel, co)
                store_tile(y, place, sums)
            first += 1


@njit(forceinline=True)
def over_pixels(sums, x, taps, x_at, row, c, g, g_at, g_row, co, oh, ow):
    """Add to the tile the products of x under its taps with the gradient, over all pixels."""
    for _ in range(oh):
        x_pixel, g_pixel = x_at, g_at
        for _ in range(ow):
            sums = outer(sums, x, taps, x_pixel, g, g_pixel)
            x_pixel += c
            g_pixel += co
        x_at += row
        g_at += g_row
    return sums


@njit
def add_weight_grad_row(x, x_at, row, c, g, g_at, g_row, oh, ow, gw, gw_at, k, co):
    """One row of the window, of k = KW C numbers: gw (k, CO) += x under it, times g (OH, OW, CO).

    `x_at` is the place of what that row of the first window sees; `row` and `g_row` are the
    distances between rows.
    """
    tap = 0
    while co == LANES and tap + TALL <= k:
        taps, places = run(tap, 1, TALL), run(gw_at + tap * co, co, TALL)
        sums = load_tile(gw, places, 1)
        sums = over_pixels(sums, x, taps, x_at, row, c, g, g_at, g_row, co, oh, ow)
        store_tile(gw, places, sums)
        tap += TALL
    while tap < k:
        place = gw_at + tap * co
        if tap + ROWS <= k:
            taps = run(tap, 1, ROWS)
            for channel in range(0, co - PAIR + 1, PAIR):
                places = run(place + channel, co, ROWS)
                sums = load_tile(gw, places, 2)
                at = g_at + channel
                sums = over_pixels(sums, x, taps, x_at, row, c, g, at, g_row, co, oh, ow)
                store_tile(gw, places, sums)
            if co % PAIR:
                places = run(place + co - LANES, co, ROWS)
                sums = load_tile(gw, places, 1)
                at = g_at + co - LANES
                sums = over_pixels(sums, x, taps, x_at, row, c, g, at, g_row, co, oh, ow)
                store_tile(gw, places, sums)
            tap += ROWS
        else:  # the last few taps, one by one
            for channel in range(0, co, LANES):
                places = (place + channel,)
                sums = load_tile(gw, places, 1)
                at = g_at + channel
                sums = over_pixels(sums, x, (tap,), x_at, row, c, g, at, g_row, co, oh, ow)
                store_tile(gw, places, sums)
            tap += 1


@njit
def add_weight_grad_image(x, x_at, h, w, c, g, g_at, g_row, gw, gw_at, kh, kw, co):
    """gw (KH, KW, C, CO) += x (H, W, C) * g (OH, OW, CO), whose rows are g_row apart."""
    row, k, out = w * c, kw * c, (h - kh + 1, w - kw + 1)
    for u in range(kh):
        add_weight_grad_row(
            x, x_at + u * row, row, c, g, g_at, g_row, out[0], out[1], gw, gw_at + u * k * co, k, co
        )


def turned(weights: np.ndarray) -> np.ndarray:
    """The kernel of the input's gradient: turned by 180 degrees, (KH, KW, CO, C)."""
    return np.ascontiguousarray(weights[::-1, ::-1].transpose(0, 1, 3, 2))


# ---- batches ------------------------------------------------------------------------------------


def chunk_count(images: int) -> int:
    """In how many chunks the images of a batch are summed up."""
    return min(images, PARTS)


def band_count(images: int, rows: int) -> int:
    """In how many bands of rows an image is cut, so that a batch of one is work for all threads."""
    return min(rows, -(-PARTS // images))


@njit(forceinline=True)
def part(k, parts, count):
    """First and end of the k-th of `parts` nearly equal parts of `count` things."""
    return k * count // parts, (k + 1) * count // parts


def fits(w: np.ndarray, stride: Size, groups: int) -> bool:
    """Whether these kernels compute a convolution with weights (or a gradient) like `w`."""
    return (
        w.dtype == np.float32
        and 4 * w.shape[3] >= whole_registers(w.shape[3])
        and w.size > 0
        and tuple(stride) == (1, 1)
        and groups == 1
    )


def whole_registers(channels: int) -> int:
    """The least multiple of LANES that is no less than `channels`."""
    return -(-channels // LANES) * LANES


def widened(a: np.ndarray) -> np.ndarray:
    """`a` (..., C) with zeros up to whole registers of channels; `a` itself if they are whole."""
    missing = whole_registers(a.shape[-1]) - a.shape[-1]
    if not missing:
        return a
    return np.concatenate([a, np.zeros((*a.shape[:-1], missing), a.dtype)], axis=-1)


@pjit
def correlate_bands(x, w, bands, y):
    """y (N, OH, OW, CO) += x (N, H, W, C) * w, every image cut into bands of rows."""
    n, h, width, c = x.shape
    kh, kw, _, co = w.shape
    _, oh, ow, _ = y.shape
    for task in prange(n * bands):
        image = task // bands
        first, end = part(task % bands, bands, oh)
        x_at, y_at = (image * h + first) * width * c, (image * oh + first) * ow * co
        rows = end - first + kh - 1
        correlate_image(x, x_at, rows, width, c, w, kh, kw, y, y_at, co, True)


def forward(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """`conv2d_forward` for the weights of `fits`, without padding."""
    n, h, width, _ = x.shape
    kh, kw, _, co = w.shape
    whole = widened(w)
    y = np.empty((n, h - kh + 1, width - kw + 1, whole.shape[3]), np.float32)
    if y.size:
        y[..., :co] = 0 if bias is None else bias
        y[..., co:] = 0
        correlate_bands(x, whole, band_count(n, y.shape[1]), y)
    return np.ascontiguousarray(y[..., :co])


@pjit
def sum_bands(x, gy, bands, kh, kw, parts):
    """parts (chunks, KH, KW, C, CO): the weight gradient of each chunk of all bands of rows.

    A thread takes one chunk and one row of the window.
    """
    n, h, width, c = x.shape
    _, oh, ow, co = gy.shape
    chunks, row, k = len(parts), width * c, kw * c
    for task in prange(chunks * kh):
        chunk, u = task // kh, task % kh
        first_band, end_band = part(chunk, chunks, n * bands)
        gw_at = task * k * co
        parts[chunk, u] = 0
        for b in range(first_band, end_band):
            image = b // bands
            first, end = part(b % bands, bands, oh)
            x_at, g_at = (image * h + first + u) * row, (image * oh + first) * ow * co
            add_weight_grad_row(
                x, x_at, row, c, gy, g_at, ow * co, end - first, ow, parts, gw_at, k, co
            )


def weight_grad(x: np.ndarray, gy: np.ndarray, w_shape: tuple[int, ...]) -> np.ndarray:
    """`conv2d_weight_grad` for the gradients of `fits`, without padding."""
    if not gy.size:
        return np.zeros(w_shape, np.float32)
    kh, kw, c, co = w_shape
    whole = widened(gy)
    size = (kh, kw, c, whole.shape[3])
    bands = band_count(len(x), gy.shape[1])
    chunks = min(chunk_count(len(x) * bands), max(1, LARGEST_PARTS // math.prod(size)))
    parts = np.empty((chunks, *size), np.float32)
    sum_bands(x, whole, bands, kh, kw, parts)
    return np.ascontiguousarray(parts.sum(axis=0)[..., :co])
