"""A whole SSR-Net from pixels to age, for answers only: nothing is kept for a backward.

What training computes and inference needn't: batch norm is folded into the convolutions' weights
and biases; rows and columns that no later window reads are left out (a 31 x 31 map is read up to
30); all maps of an image live in one scratch array, small enough for the second-level cache;
pixels are read as the bytes they are; and blocks that pool multiply less than half as often as
their sums are written (see `winograd`).

The network is described by two tables, so that one compiled function serves every SSR-Net: a
record of `BLOCK` for each convolution of the streams and one of `STAGE` for each stage. Weights
and biases are in the flat array `numbers`, all maps of an image in a row of `scratch`; the tables
hold their places. Of both blocks of the first level there are the weights (27, filters of both) of
`stem`; of those that pool, what `winograd.transformed` returns; of the others (3, 3, channels,
filters), and the bias (filters,).

Images are shared out among the threads, each with a row of scratch. A single image is cut into
bands of rows instead. Whoever computes a number, it is the same sum in the same order, so the bits
depend neither on the number of threads nor on what else is in the batch.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.conv2d.numba_simd import slide
from minissr.kernels.fusion.numba_simd import fuse_window
from minissr.kernels.head.numba_layers import activate_all, dot, dot_of_product, small_layer
from minissr.kernels.inference import stem, winograd
from minissr.kernels.inference.pooling import STREAMS, S, X
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    load,
    load_tile,
    maximum,
    run,
    store,
    store_tile,
    tanh,
    wrapped_run,
    zeros,
)
from minissr.kernels.stem.numba_simd import COLOURS, MIDDLE, WINDOW, read_pixels

NOTHING_KEPT = np.zeros(1, np.uint8)

BLOCK = np.dtype(
    [
        ("input", np.int64),  # place of the map it reads
        ("input_width", np.int64),  # pixels from one row of that map to the next
        ("channels", np.int64),
        ("weights", np.int64),  # laid out as the head of this module tells
        ("bias", np.int64),
        ("filters", np.int64),
        ("output", np.int64),
        ("size", np.int64),  # height and width of the output that is read later
        ("pools", np.bool_),
        ("work", np.int64),  # place of `winograd.room` in the thread's own scratch
    ]
)
STAGE = np.dtype(
    [
        ("map", np.int64, 2),  # of stream X, of stream S; so all pairs below
        ("width", np.int64, 2),
        ("channels", np.int64, 2),
        ("weights", np.int64, 2),  # (channels, wide)
        ("bias", np.int64, 2),  # (wide,)
        ("features", np.int64, 2),  # place in scratch of the grid x grid x wide compact features
        ("level", np.int64),
        ("wide", np.int64),  # compact channels, padded with zeros to whole registers
        ("pool", np.int64),
        ("grid", np.int64),
        ("bins", np.int64),
        ("mixed", np.int64),  # units of the shared layer; 0 is no such layer
        ("dense", np.int64),  # everything after the features; see `answer`
        ("hidden", np.int64),  # place in scratch of 6 x bins numbers
        ("activation", np.int64, 4),  # of the layers x, s, mix, p; numbered by `codes`
    ]
)


# ---- streams ------------------------------------------------------------------------------------


@njit
def plain_block(block, stream, numbers, maps):
    """A block without pooling: eight pixels at a time in reading order, the last ones singly."""
    c, co, size = block.channels, block.filters, block.size
    row, pixels = block.input_width * c, size * size
    k = WINDOW * c
    for channel in range(0, co, LANES):
        w_at, bias_at = block.weights + channel, block.bias + channel
        to = block.output + channel
        for first in range(0, pixels - 7, 8):
            start = block.input + first // size * row + first % size * c
            places = wrapped_run(start, first % size, size, c, row, 8)
            h = load_tile(numbers, run(bias_at, 0, 8), 1)
            h = slide(h, maps, places, row, WINDOW, k, numbers, w_at, co)
            store_tile(maps, run(to + first * co, co, 8), h)
        for pixel in range(pixels - pixels % 8, pixels):
            place = (block.input + pixel // size * row + pixel % size * c,)
            one = (load(numbers, bias_at),)
            one = slide(one, maps, place, row, WINDOW, k, numbers, w_at, co)
            store(maps, to + pixel * co, one[0])
    for i in range(block.output, block.output + pixels * co, LANES):
        value = load(maps, i)
        store(maps, i, tanh(value) if stream == S else maximum(value, zeros()))


@njit
def run_block(block, stream, numbers, maps, work, band, bands):
    """Part `band` of `bands` of a block; one without pooling is all in the first band.

    `work` is scratch like `maps`, but no other thread's.
    """
    if block.pools:
        first, last = band * block.size // bands, (band + 1) * block.size // bands
        winograd.pooling_rows(block, stream, numbers, maps, work, first, last)
    elif band == 0:
        plain_block(block, stream, numbers, maps)


@njit
def first_level(images, i, blocks, numbers, maps, band, bands):
    """The pixels' rows that a band of the first level reads, and that band of both maps."""
    row = images.shape[2] * COLOURS
    size = blocks[X].size
    first, last = band * size // bands, (band + 1) * size // bands
    at = i * images.shape[1] * row + 2 * first * row
    count = (2 * (last - first) + WINDOW - 1) * row
    read_pixels(images, at, count, maps, blocks[X].input + 2 * first * row, MIDDLE)
    stem.pooling_rows(blocks[X], blocks[S], numbers, maps, first, last)


# ---- stages -------------------------------------------------------------------------------------


@njit
def compact(stage, stream, numbers, maps):
    """The compact features of one stream: 1x1 convolution, ReLU, pooling."""
    c, size = stage.channels[stream], stage.pool
    row = stage.width[stream] * c
    to = stage.features[stream]
    for y in range(stage.grid):
        for x in range(stage.grid):
            corner = stage.map[stream] + y * size * row + x * size * c
            for channel in range(0, stage.wide, LANES):
                value = fuse_window(
                    maps, corner, row, c,
                    numbers, stage.weights[stream] + channel, numbers, stage.bias[stream] + channel,
                    stage.wide, size, stream == S, False, NOTHING_KEPT, 0,
                )  # fmt: skip
                store(maps, to, value)
                to += LANES


@njit
def answer(stage, numbers, maps, c_eta):
    """The expected bin index sum_i p_i (i + c_eta eta_i), and delta, of one stage.

    From `dense` on lie, of the layers x and s, (bins, features) and (bins,) each; of delta
    (features,) and (1,); of the shared layer, if any, p and eta, (inputs, units) and (units,) each.
    """
    bins, count = stage.bins, stage.grid * stage.grid * stage.wide
    at, hidden = stage.dense, stage.hidden
    features_x, features_s = stage.features[X], stage.features[S]
    for layer, features in enumerate((features_x, features_s)):
        for j in range(bins):
            h = dot(maps, features, numbers, at + j * count, count)
            maps[hidden + layer * bins + j] = h + numbers[at + bins * count + j]
        activate_all(maps, hidden + layer * bins, bins, stage.activation[layer])
        at += bins * (count + 1)
    product = dot_of_product(maps, features_x, maps, features_s, numbers, at, count)
    delta = np.tanh(product + numbers[at + count])
    at += count + 1

    for j in range(bins):
        maps[hidden + j] *= maps[hidden + bins + j]
    source, inputs = hidden, bins
    if stage.mixed:
        source, inputs = hidden + bins, stage.mixed
        at = small_layer(numbers, at, bins, inputs, maps, hidden, source)
        activate_all(maps, source, inputs, stage.activation[2])
    p, eta = hidden + bins + inputs, hidden + 2 * bins + inputs
    at = small_layer(numbers, at, inputs, bins, maps, source, p)
    small_layer(numbers, at, inputs, bins, maps, source, eta)
    activate_all(maps, p, bins, stage.activation[3])
    index = np.float32(0)
    for i in range(bins):
        index += maps[p + i] * (np.float32(i) + c_eta * np.tanh(maps[eta + i]))
    return index, delta


@njit
def regress(stages, numbers, maps, formula):
    """The age of the image whose features are in `maps` (Yang et al. 2018, Eq. 7).

    `formula` is (min_age, max_age, c_delta, c_eta, floor), floor -inf for none.
    """
    age, width = formula[0], formula[1] - formula[0]
    for stage in stages:
        index, delta = answer(stage, numbers, maps, formula[3])
        stretch = max(np.float32(1) + formula[2] * delta, formula[4])
        width = width / (np.float32(stage.bins) * stretch)
        age += width * index
    return age


# ---- images -------------------------------------------------------------------------------------


@njit
def infer_image(images, i, blocks, stages, numbers, formula, maps):
    """The age of one image, on one thread."""
    first_level(images, i, blocks, numbers, maps, 0, 1)
    for b in range(2, len(blocks)):
        run_block(blocks[b], b % 2, numbers, maps, maps, 0, 1)
    for stage in stages:
        compact(stage, X, numbers, maps)
        compact(stage, S, numbers, maps)
    return regress(stages, numbers, maps, formula)


@pjit
def infer_batch(images, blocks, stages, numbers, formula, scratch, ages):
    """Ages of all images, shared out evenly among as many threads as scratch has rows."""
    n, team = len(images), len(scratch)
    for t in prange(team):
        for i in range(t * n // team, (t + 1) * n // team):
            ages[i] = infer_image(images, i, blocks, stages, numbers, formula, scratch[t])


@njit
def infer_rest(blocks, stages, numbers, maps, work, stream):
    """What is left of an image after level 2, of one stream; shared out so that both take as long.

    Stream X has the wider convolutions, so S also compacts X's maps of levels 1 and 2.
    """
    for b in range(4 + stream, len(blocks), 2):
        run_block(blocks[b], stream, numbers, maps, work, 0, 1)
    for stage in stages:
        if stream == S:
            compact(stage, S, numbers, maps)
        if (stream == S) == (stage.level <= 2):
            compact(stage, X, numbers, maps)


@pjit
def infer_bands(images, i, blocks, stages, numbers, formula, scratch, ages):
    """The age of one image, every map cut into as many bands of rows as scratch has rows, two at
    least. The maps are in the first row."""
    bands, maps = len(scratch), scratch[0]
    for band in prange(bands):
        first_level(images, i, blocks, numbers, maps, band, bands)
    for band in prange(bands):
        for stream in STREAMS:
            run_block(blocks[2 + stream], stream, numbers, maps, scratch[band], band, bands)
    for stream in prange(2):
        infer_rest(blocks, stages, numbers, maps, scratch[stream], stream)
    ages[i] = regress(stages, numbers, maps, formula)
