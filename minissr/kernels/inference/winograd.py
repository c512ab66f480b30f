"""A 3x3 convolution with 4 multiplications for a pixel where the sum has 9: Winograd's F(2x2, 3x3).

Two neighbouring outputs of a convolution in one dimension, of four inputs d and three weights g,

    y0 = d0 g0 + d1 g1 + d2 g2        y1 = d1 g0 + d2 g1 + d3 g2

take six multiplications as written. Four do, if sums are formed before and after:

    m0 = (d0 - d2) g0                      m1 = (d1 + d2) (g0 + g1 + g2) / 2
    m3 = (d1 - d3) g2                      m2 = (d2 - d1) (g0 - g1 + g2) / 2

    y0 = m0 + m1 + m2        y1 = m1 - m2 - m3

that is y = A ((G g) * (B d)), where * multiplies number by number, with

    B = 1  0 -1  0      G =  1    0    0      A = 1  1  1  0
        0  1  1  0          1/2  1/2  1/2         0  1 -1 -1
        0 -1  1  0          1/2 -1/2  1/2
        0  1  0 -1           0    0    1

In two dimensions, once along columns and once along rows: Y = A ((G g G') * (B d B')) A' has
2 x 2 outputs of 4 x 4 inputs for 16 multiplications instead of 36. Channels are summed between
the products and A, which is linear; so G g G' is prepared with the weights, B d B' is made once
for all filters, and what is left in between are 16 products of matrices,
(windows, channels) times (channels, filters). Those are tiles again; see `tiles`.

The 2 x 2 outputs are just what a pooling window holds, so A and the pooling are one step, from
registers to registers. Bias: A u A' is a matrix of ones for the u that is 1 at (1, 1) and 0
elsewhere, so a sum that starts from the bias there has it everywhere in the end.

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; Winograd, "Arithmetic
Complexity of Computations", 1980. Larger tiles save more multiplications and lose digits; this one
adds and halves, and is as exact as the plain sum to within a small factor.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.conv2d.numba_simd import PAIR, slide
from minissr.kernels.inference.pooling import pooled
from minissr.kernels.jit import njit
from minissr.kernels.simd import LANES, add, load, load_tile, run, store, store_tile, subtract

PLACES = 16  # numbers of a transformed 4 x 4 patch
MIDDLE = 5  # the place (1, 1)
# Windows that are computed together, a tile of two registers: as many as there are registers for.
# The sums are short, one term a channel, so what a tile costs at its ends counts. And few enough
# for their patches and products to stay in the first-level cache.
TILE = 12 if LANES == 16 else 6

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def transformed(w: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G w G' (16, C, CO), and what its sums start from, (16, CO); of weights (3, 3, C, CO)."""
    starts = np.zeros((PLACES, len(bias)))
    starts[MIDDLE] = bias
    return np.einsum("ai,bj,ijcf->abcf", G, G, w).reshape(PLACES, *w.shape[2:]), starts


def room(channels: int, filters: int) -> int:
    """Numbers of scratch that a block needs: a tile's patches and products."""
    return PLACES * (stride(channels) + stride(filters))


@njit(forceinline=True)
def stride(channels):
    """From one place of a tile to the next: a cache line more than it holds, because sixteen
    lines whose distance is a power of two fall into the same few sets of a cache."""
    return TILE * channels + 16


@njit(forceinline=True)
def before(d0, d1, d2, d3):
    """B d."""
    return subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)


@njit(forceinline=True)
def after(m0, m1, m2, m3):
    """A m."""
    return add(add(m0, m1), m2), subtract(subtract(m1, m2), m3)


@njit(forceinline=True)
def column(maps, at, row):
    """B d of a column of the patch."""
    return before(
        load(maps, at), load(maps, at + row), load(maps, at + 2 * row), load(maps, at + 3 * row)
    )


@njit
def transform_patches(maps, at, c, row, count, work, to):
    """work = B d B' of `count` patches of 4 x 4 pixels, two columns apart, the first at `at`; a
    patch's first place is at work[to ...], the next patch's C further.

    Neighbours share two columns, whose B d is still in registers.
    """
    step = stride(c)
    for channel in range(0, c, LANES):
        d0 = column(maps, at + channel, row)
        d1 = column(maps, at + channel + c, row)
        for i in range(count):
            d2 = column(maps, at + channel + (2 * i + 2) * c, row)
            d3 = column(maps, at + channel + (2 * i + 3) * c, row)
            row0 = before(d0[0], d1[0], d2[0], d3[0])
            row1 = before(d0[1], d1[1], d2[1], d3[1])
            row2 = before(d0[2], d1[2], d2[2], d3[2])
            row3 = before(d0[3], d1[3], d2[3], d3[3])
            places = run(to + channel + i * c, step, PLACES)
            store_tile(work, places, row0 + row1 + row2 + row3)
            d0, d1 = d2, d3


@njit
def multiply_patches(block, numbers, work, patches, products):
    """The 16 products of matrices, of a whole tile whatever it holds."""
    c, co = block.channels, block.filters
    for place in range(PLACES):
        w_at, start = block.weights + place * c * co, block.bias + place * co
        rows, to = run(patches + place * stride(c), c, TILE), products + place * stride(co)
        for channel in range(0, co - PAIR + 1, PAIR):
            sums = load_tile(numbers, run(start + channel, 0, TILE), 2)
            sums = slide(sums, work, rows, 0, 1, c, numbers, w_at + channel, co)
            store_tile(work, run(to + channel, co, TILE), sums)
        if co % PAIR:
            channel = co - LANES
            last = load_tile(numbers, run(start + channel, 0, TILE), 1)
            last = slide(last, work, rows, 0, 1, c, numbers, w_at + channel, co)
            store_tile(work, run(to + channel, co, TILE), last)


@njit(forceinline=True)
def pool_products(work, at, co, stream, maps, to):
    """maps[to ...] = the pooled A m A' of one window."""
    step = stride(co)
    for channel in range(0, co, LANES):
        m = load_tile(work, run(at + channel, step, PLACES), 1)
        u0, l0 = after(m[0], m[4], m[8], m[12])
        u1, l1 = after(m[1], m[5], m[9], m[13])
        u2, l2 = after(m[2], m[6], m[10], m[14])
        u3, l3 = after(m[3], m[7], m[11], m[15])
        h0, h1 = after(u0, u1, u2, u3)
        h2, h3 = after(l0, l1, l2, l3)
        store(maps, to + channel, pooled(h0, h1, h2, h3, stream))


@njit
def pooling_rows(block, stream, numbers, maps, work, first, last):
    """Pooled rows `first` to `last` of a block, a tile of windows at a time in reading order.

    A last tile that is not full computes what is left in `work`, and nobody reads it.
    """
    c, co, size = block.channels, block.filters, block.size
    row, end = block.input_width * c, last * size
    patches = block.work
    products = patches + PLACES * stride(c)
    for start in range(first * size, end, TILE):
        windows = min(TILE, end - start)
        i = 0
        while i < windows:
            y, x = (start + i) // size, (start + i) % size
            count = min(size - x, windows - i)  # of this row
            corner = block.input + 2 * y * row + 2 * x * c
            transform_patches(maps, corner, c, row, count, work, patches + i * c)
            i += count
        multiply_patches(block, numbers, work, patches, products)
        for i in range(windows):
            to = block.output + (start + i) * co
            pool_products(work, products + i * co, co, stream, maps, to)
