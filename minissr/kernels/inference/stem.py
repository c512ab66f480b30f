"""The first block of both streams: they read the same pixels, so one pass computes both.

A tile has three registers of channels, whichever stream they belong to: the more of them share a
pixel, the fewer loads there are for a multiplication. `winograd` is not used: its patches are
registers of channels, and there are three colours.
"""

from __future__ import annotations

from minissr.kernels.conv2d.numba_simd import slide
from minissr.kernels.inference.pooling import S, X, pooled
from minissr.kernels.jit import njit
from minissr.kernels.simd import LANES, load_tile, run, store
from minissr.kernels.stem.numba_simd import COLOURS, TAPS, WINDOW

WIDE = 3 * LANES  # channels in a tile
WINDOWS = 2 if LANES == 16 else 1  # pooling windows in a tile: 4 x 3 sums each, of 32 or 16


@njit(forceinline=True)
def pool(h0, h1, h2, h3, channel, split, maps, x_at, s_at):
    """A register of channels of one window; from `split` on they are stream S's."""
    if channel < split:
        store(maps, x_at + channel, pooled(h0, h1, h2, h3, X))
    else:
        store(maps, s_at + channel - split, pooled(h0, h1, h2, h3, S))


@njit(forceinline=True)
def two_windows(x, numbers, maps, corner, row, channel, co, x_at, s_at):
    """WIDE channels of a window and its right neighbour."""
    split, after = x.filters, co - x.filters
    a, b, c = channel, channel + LANES, channel + 2 * LANES
    places = run(corner, COLOURS, 4) + run(corner + row, COLOURS, 4)
    h = load_tile(numbers, run(x.bias + a, 0, 8), 3)
    h = slide(h, maps, places, row, WINDOW, TAPS, numbers, x.weights + a, co)
    pool(h[0], h[3], h[12], h[15], a, split, maps, x_at, s_at)
    pool(h[1], h[4], h[13], h[16], b, split, maps, x_at, s_at)
    pool(h[2], h[5], h[14], h[17], c, split, maps, x_at, s_at)
    pool(h[6], h[9], h[18], h[21], a, split, maps, x_at + split, s_at + after)
    pool(h[7], h[10], h[19], h[22], b, split, maps, x_at + split, s_at + after)
    pool(h[8], h[11], h[20], h[23], c, split, maps, x_at + split, s_at + after)


@njit(forceinline=True)
def one_window(x, numbers, maps, corner, row, channel, co, x_at, s_at):
    """WIDE channels of a window."""
    split = x.filters
    a, b, c = channel, channel + LANES, channel + 2 * LANES
    places = run(corner, COLOURS, 2) + run(corner + row, COLOURS, 2)
    h = load_tile(numbers, run(x.bias + a, 0, 4), 3)
    h = slide(h, maps, places, row, WINDOW, TAPS, numbers, x.weights + a, co)
    pool(h[0], h[3], h[6], h[9], a, split, maps, x_at, s_at)
    pool(h[1], h[4], h[7], h[10], b, split, maps, x_at, s_at)
    pool(h[2], h[5], h[8], h[11], c, split, maps, x_at, s_at)


@njit(forceinline=True)
def one_register(x, numbers, maps, corner, row, channel, co, x_at, s_at):
    """LANES channels of a window."""
    places = run(corner, COLOURS, 2) + run(corner + row, COLOURS, 2)
    h = load_tile(numbers, run(x.bias + channel, 0, 4), 1)
    h = slide(h, maps, places, row, WINDOW, TAPS, numbers, x.weights + channel, co)
    pool(h[0], h[1], h[2], h[3], channel, x.filters, maps, x_at, s_at)


@njit
def pooling_rows(x, s, numbers, maps, first, last):
    """Pooled rows `first` to `last` of both blocks.

    The weights (27, CO) and the bias (CO,) are X's and then S's, side by side. A last window
    without a neighbour is computed again with the one before it.
    """
    size, split, co = x.size, x.filters, x.filters + s.filters
    row, tiled = x.input_width * COLOURS, co - co % WIDE
    for y in range(first, last):
        for start in range(0, size, WINDOWS):
            window = min(start, size - WINDOWS)
            corner = x.input + 2 * y * row + 2 * window * COLOURS
            at = y * size + window
            x_at, s_at = x.output + at * split, s.output + at * s.filters
            for channel in range(0, tiled, WIDE):
                if WINDOWS == 2:
                    two_windows(x, numbers, maps, corner, row, channel, co, x_at, s_at)
                else:
                    one_window(x, numbers, maps, corner, row, channel, co, x_at, s_at)
            for channel in range(tiled, co, LANES):
                for k in range(WINDOWS):
                    there = corner + 2 * k * COLOURS
                    xk, sk = x_at + k * split, s_at + k * s.filters
                    one_register(x, numbers, maps, there, row, channel, co, xk, sk)
