"""The head on vector registers: a launch for each stage, forward and backward.

An image stays with one thread from its maps to p, eta and delta, and on the way back from their
gradients to those of its maps. Its features u and v are rows padded with zeros to whole registers,
and so are, turned, the weights of the layers that read them: a unit is then a product of two rows,
and its weights' gradient a multiple of one.

A stage's parameters come as one flat array `numbers`, one after the other, and their gradients
leave as one. Between the two is the padded form, of which every chunk of images has its own sum:

    convolutions  (compact, channels), rows up to a multiple of four, and whole registers of biases
    wide layers   (units, features), rows up to whole registers
    the rest      as it is

Kept for backward are u and v, what the fusion keeps, and of an image's small layers a row

    a   b   a b   c   p   eta   delta         S, S, S, M, S, S and 1 numbers

where c is a b itself, in the same place, if there is no shared layer (M = 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minissr.kernels.conv2d.numba_simd import chunk_count, part, whole_registers
from minissr.kernels.fusion import numba_simd as fusion
from minissr.kernels.fusion.numba_simd import fuse_image, fuse_image_gradients
from minissr.kernels.head.composed import Array, Parameters, codes, cut, of_stage
from minissr.kernels.head.numba_layers import (
    TANH,
    activate_all,
    dot_of_product,
    go_through_all,
    slope,
    small_layer,
    small_layer_gradients,
)
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import LANES, fma, load, multiply, splat, store, sum_lanes, zeros

NO_MASK = np.zeros((0, 0), np.float32)
(
    CONV_S_W, CONV_S_B, CONV_X_W, CONV_X_B, DELTA_W, DELTA_B, S_W, S_B,
    X_W, X_B, MIX_W, MIX_B, P_W, P_B, ETA_W, ETA_B,
) = range(len(Parameters._fields))  # fmt: skip


class Stage(NamedTuple):
    """The sizes of one stage and its place among the others, as the kernels are told."""

    channels_s: int
    channels_x: int
    compact: int
    pool: int
    features: int
    row: int  # of u and v: `features` up to whole registers
    bins: int
    mixed: int  # units of the shared layer, 0 without
    first: int  # its first bin among those of all stages
    number: int


def fits(maps: Sequence[Array], pools: Sequence[int]) -> bool:
    """Whether these kernels compute a head of this kind."""
    return len(maps[0]) > 0 and all(
        fusion.fits(each, pool) for k, pool in enumerate(pools) for each in maps[2 * k : 2 * k + 2]
    )


def stage_of(w: Parameters, pool: int, first: int, number: int) -> Stage:
    """The description of a stage."""
    channels_s, compact = w.conv_s_w.shape[2:]
    features = len(w.delta_w)
    row = fusion.row_length(features // compact, compact)
    mixed = 0 if w.mix_b is None else len(w.mix_b)
    sizes = (channels_s, w.conv_x_w.shape[2], compact, pool, features, row, len(w.s_b), mixed)
    return Stage(*sizes, first, number)


def flat_sizes(w: Parameters) -> list[int]:
    """How many numbers each of the sixteen has."""
    return [0 if each is None else each.size for each in w]


def padded_sizes(w: Parameters, stage: Stage) -> list[int]:
    """The same of the padded form."""
    rows, wide = fusion.padded_rows(stage.compact), whole_registers(stage.compact)
    convolutions = [rows * stage.channels_s, wide, rows * stage.channels_x, wide]
    layers = [size for units in (1, stage.bins, stage.bins) for size in (units * stage.row, units)]
    return convolutions + layers + flat_sizes(w)[MIX_W:]


def starts(sizes: list[int]) -> np.ndarray:
    """Where each piece of a flat array begins, and where the last ends."""
    return np.cumsum([0, *sizes])


# ---- layouts ------------------------------------------------------------------------------------


@njit
def turn(source, at, rows, columns, target, to, stride):
    """(rows, columns) to (columns, rows), the new rows `stride` apart."""
    for i in range(rows):
        for j in range(columns):
            target[to + j * stride + i] = source[at + i * columns + j]


@njit
def turn_back(source, at, stride, rows, columns, target, to):
    """What `turn` did, undone: to (rows, columns)."""
    for i in range(rows):
        for j in range(columns):
            target[to + i * columns + j] = source[at + j * stride + i]


@njit
def wide_layers(stage, numbers, start):
    """The weights of the layers s, x and delta: (2 S + 1, row)."""
    layers = np.zeros((2 * stage.bins + 1) * stage.row, np.float32)
    row, features, bins = stage.row, stage.features, stage.bins
    turn(numbers, start[S_W], features, bins, layers, 0, row)
    turn(numbers, start[X_W], features, bins, layers, bins * row, row)
    turn(numbers, start[DELTA_W], features, 1, layers, 2 * bins * row, row)
    return layers


@njit
def turned_convolution(numbers, at, channels, compact):
    """(channels, compact) as (compact, channels)."""
    w = np.empty((compact, channels), np.float32)
    turn(numbers, at, channels, compact, w.reshape(-1), 0, channels)
    return w


@njit
def widened_convolution(numbers, at, channels, compact):
    """w (channels, wide) and bias (wide,), padded with zeros to whole registers."""
    wide = -(-compact // LANES) * LANES
    w, bias = np.zeros((channels, wide), np.float32), np.zeros(wide, np.float32)
    for c in range(channels):
        w[c, :compact] = numbers[at + c * compact : at + (c + 1) * compact]
    bias[:compact] = numbers[at + channels * compact : at + (channels + 1) * compact]
    return w, bias


@njit
def gather_parts(stage, parts, padded, start, flat):
    """The sum of all chunks, in the layout of the parameters."""
    total = parts[0]
    for k in range(1, len(parts)):
        total += parts[k]
    compact, row, features, bins = stage.compact, stage.row, stage.features, stage.bins
    for piece, channels in ((CONV_S_W, stage.channels_s), (CONV_X_W, stage.channels_x)):
        turn_back(total, padded[piece], channels, channels, compact, flat, start[piece])
    for piece, units in ((DELTA_W, 1), (S_W, bins), (X_W, bins)):
        turn_back(total, padded[piece], row, features, units, flat, start[piece])
    for piece in (CONV_S_B, CONV_X_B, DELTA_B, S_B, X_B):
        for j in range(start[piece + 1] - start[piece]):
            flat[start[piece] + j] = total[padded[piece] + j]
    flat[start[MIX_W] :] = total[padded[MIX_W] :]


# ---- forward ------------------------------------------------------------------------------------


@njit(forceinline=True)
def masked(values, mask, i, row, f):
    """A register of row `i` without what was dropped out; a mask of no rows drops nothing."""
    kept = load(values, i * row + f)
    return multiply(kept, load(mask, i * row + f)) if len(mask) else kept


@njit
def masked_dot(values, mask, i, row, layers, at):
    """What `dot` is, of row `i` without what was dropped out."""
    total = zeros()
    for f in range(0, row, LANES):
        total = fma(masked(values, mask, i, row, f), load(layers, at + f), total)
    return sum_lanes(total)


@njit
def answer(i, stage, codes, numbers, start, layers, u, v, mask_s, mask_x, hidden):
    """The small layers of image `i`, into its row of `hidden`."""
    row, bins, mixed = stage.row, stage.bins, stage.mixed
    for j in range(bins):
        h = masked_dot(u, mask_s, i, row, layers, j * row)
        hidden[j] = h + numbers[start[S_B] + j]
        h = masked_dot(v, mask_x, i, row, layers, (bins + j) * row)
        hidden[bins + j] = h + numbers[start[X_B] + j]
    activate_all(hidden, 0, bins, codes[0])
    activate_all(hidden, bins, bins, codes[1])
    ab = 2 * bins
    for j in range(bins):
        hidden[ab + j] = hidden[j] * hidden[bins + j]
    c, inputs = ab, bins
    if mixed:
        c, inputs = ab + bins, mixed
        small_layer(numbers, start[MIX_W], bins, mixed, hidden, ab, c)
        activate_all(hidden, c, mixed, codes[2])
    p = c + inputs
    eta = p + bins
    small_layer(numbers, start[P_W], inputs, bins, hidden, c, p)
    activate_all(hidden, p, bins, codes[3])
    small_layer(numbers, start[ETA_W], inputs, bins, hidden, c, eta)
    activate_all(hidden, eta, bins, TANH)
    h = dot_of_product(u, i * row, v, i * row, layers, 2 * bins * row, row)
    hidden[eta + bins] = h + numbers[start[DELTA_B]]
    activate_all(hidden, eta + bins, 1, TANH)
    return p


@pjit
def answer_images(
    s, x, numbers, start, stage, codes, mask_s, mask_x,
    u, v, kept_s, kept_x, hidden, p, eta, delta,
):  # fmt: skip
    """The answers of one stage about all images, and what backward wants."""
    w_s, bias_s = widened_convolution(numbers, start[CONV_S_W], stage.channels_s, stage.compact)
    w_x, bias_x = widened_convolution(numbers, start[CONV_X_W], stage.channels_x, stage.compact)
    layers = wide_layers(stage, numbers, start)
    compact, pool, row = stage.compact, stage.pool, stage.row
    for i in prange(len(s)):
        fuse_image(s, i, w_s, bias_s, pool, compact, True, u, i * row, kept_s)
        fuse_image(x, i, w_x, bias_x, pool, compact, False, v, i * row, kept_x)
        mine = hidden[i]
        at = answer(i, stage, codes, numbers, start, layers, u, v, mask_s, mask_x, mine)
        for j in range(stage.bins):
            p[i, stage.first + j] = mine[at + j]
            eta[i, stage.first + j] = mine[at + stage.bins + j]
        delta[i, stage.number] = mine[at + 2 * stage.bins]


def forward(maps, parameters, masks, pools, activations):
    """`composed.forward` for the heads of `fits`."""
    n, every = len(maps[0]), [of_stage(parameters, k) for k in range(len(pools))]
    bins = sum(len(w.p_b) for w in every)
    p, eta = np.empty((n, bins), np.float32), np.empty((n, bins), np.float32)
    delta = np.empty((n, len(every)), np.float32)
    saved, first = [], 0
    for k, (w, pool) in enumerate(zip(every, pools, strict=True)):
        s, x = maps[2 * k : 2 * k + 2]
        stage = stage_of(w, pool, first, k)
        numbers = np.concatenate([each.reshape(-1) for each in w if each is not None])
        u, v = np.zeros((n, stage.row), np.float32), np.zeros((n, stage.row), np.float32)
        kept_s = fusion.room_to_keep(s, stage.compact, "max", pool)
        kept_x = fusion.room_to_keep(x, stage.compact, "avg", pool)
        hidden = np.empty((n, 5 * stage.bins + stage.mixed + 1), np.float32)
        padded_masks = [padded_mask(mask, stage) for mask in masks[2 * k : 2 * k + 2]]
        answer_images(
            s, x, numbers, starts(flat_sizes(w)), stage, codes(activations), *padded_masks,
            u, v, kept_s, kept_x, hidden, p, eta, delta,
        )  # fmt: skip
        saved.append((stage, numbers, padded_masks, u, v, kept_s, kept_x, hidden))
        first += stage.bins
    return p, eta, delta, tuple(saved)


def padded_mask(mask: Array | None, stage: Stage) -> Array:
    """A dropout mask (N, features) with zeros up to whole registers; no rows for none."""
    if mask is None:
        return NO_MASK
    padded = np.zeros((len(mask), stage.row), np.float32)
    padded[:, : stage.features] = mask
    return padded


# ---- backward -----------------------------------------------------------------------------------


@njit
def answer_gradients(
    i, stage, codes, numbers, start, layers, g_p, g_eta, g_delta,
    u, v, mask_s, mask_x, hidden, h, g_u, g_v, parts, padded,
):  # fmt: skip
    """From the gradients of image `i`'s answers to those of its features.

    Those of the parameters are added to `parts`; `h` is scratch like a row of `hidden`, for dL/dh
    of what stands there.
    """
    bins, mixed, first = stage.bins, stage.mixed, stage.first
    ab = 2 * bins
    c, inputs = (ab + bins, mixed) if mixed else (ab, bins)
    p = c + inputs
    eta = p + bins
    h[:p] = 0
    for j in range(bins):
        h[p + j], h[eta + j] = g_p[i, first + j], g_eta[i, first + j]
    go_through_all(h, p, hidden, p, bins, codes[3])
    go_through_all(h, eta, hidden, eta, bins, TANH)
    for piece, at in ((P_W, p), (ETA_W, eta)):
        small_layer_gradients(
            numbers, start[piece], inputs, bins, hidden, c, h, at, parts, padded[piece], h, c
        )
    if mixed:
        go_through_all(h, c, hidden, c, mixed, codes[2])
        small_layer_gradients(
            numbers, start[MIX_W], bins, mixed, hidden, ab, h, c, parts, padded[MIX_W], h, ab
        )
    for j in range(bins):
        a, b = hidden[j], hidden[bins + j]
        h[j] = h[ab + j] * b * slope(a, codes[0])
        h[bins + j] = h[ab + j] * a * slope(b, codes[1])
        parts[padded[S_B] + j] += h[j]
        parts[padded[X_B] + j] += h[bins + j]
    g = g_delta[i, stage.number] * slope(hidden[eta + bins], TANH)
    parts[padded[DELTA_B]] += g
    features_gradients(i, stage, layers, u, v, mask_s, mask_x, h, splat(g), g_u, g_v, parts, padded)


@njit
def features_gradients(i, stage, layers, u, v, mask_s, mask_x, h, h_delta, g_u, g_v, parts, padded):
    """The wide layers' part of `answer_gradients`."""
    row, bins = stage.row, stage.bins
    for f in range(0, row, LANES):
        u_here, v_here = load(u, i * row + f), load(v, i * row + f)
        u_masked, v_masked = masked(u, mask_s, i, row, f), masked(v, mask_x, i, row, f)
        of_u, of_v = zeros(), zeros()
        for j in range(bins):
            h_s, h_x = splat(h[j]), splat(h[bins + j])
            of_u = fma(h_s, load(layers, j * row + f), of_u)
            of_v = fma(h_x, load(layers, (bins + j) * row + f), of_v)
            s_at, x_at = padded[S_W] + j * row + f, padded[X_W] + j * row + f
            store(parts, s_at, fma(h_s, u_masked, load(parts, s_at)))
            store(parts, x_at, fma(h_x, v_masked, load(parts, x_at)))
        if len(mask_s):
            of_u = multiply(of_u, load(mask_s, i * row + f))
        if len(mask_x):
            of_v = multiply(of_v, load(mask_x, i * row + f))
        both = multiply(h_delta, load(layers, 2 * bins * row + f))
        store(g_u, f, fma(both, v_here, of_u))
        store(g_v, f, fma(both, u_here, of_v))
        at = padded[DELTA_W] + f
        store(parts, at, fma(h_delta, multiply(u_here, v_here), load(parts, at)))


@pjit
def answer_images_gradients(
    g_p, g_eta, g_delta, s, x, numbers, start, stage, codes, mask_s, mask_x,
    u, v, kept_s, kept_x, hidden, gs, gx, parts, padded, flat,
):  # fmt: skip
    """The gradients of one stage's maps and, in `flat`, of its parameters."""
    w_s = turned_convolution(numbers, start[CONV_S_W], stage.channels_s, stage.compact)
    w_x = turned_convolution(numbers, start[CONV_X_W], stage.channels_x, stage.compact)
    layers = wide_layers(stage, numbers, start)
    pool, n, chunks = stage.pool, len(s), len(parts)
    wide = -(-stage.compact // LANES) * LANES
    for k in prange(chunks):
        sums = parts[k]
        sums[:] = 0
        g_u, g_v = np.empty(stage.row, np.float32), np.empty(stage.row, np.float32)
        h = np.empty(hidden.shape[1], np.float32)
        scratch = np.empty((pool * pool + 1) * wide, np.float32)
        first, end = part(k, chunks, n)
        for i in range(first, end):
            answer_gradients(
                i, stage, codes, numbers, start, layers, g_p, g_eta, g_delta,
                u, v, mask_s, mask_x, hidden[i], h, g_u, g_v, sums, padded,
            )  # fmt: skip
            fuse_image_gradients(
                g_u, 0, s, i, w_s, pool, True, kept_s, scratch,
                gs, sums, padded[CONV_S_W], sums, padded[CONV_S_B],
            )  # fmt: skip
            fuse_image_gradients(
                g_v, 0, x, i, w_x, pool, False, kept_x, scratch,
                gx, sums, padded[CONV_X_W], sums, padded[CONV_X_B],
            )  # fmt: skip
    gather_parts(stage, parts, padded, start, flat)


def backward(g_p, g_eta, g_delta, maps, parameters, activations, saved):
    """`composed.backward` for the heads of `fits`; masks are in `saved`."""
    map_grads: list[Array] = []
    parameter_grads: list[Array | None] = []
    for k, (stage, numbers, padded_masks, *kept) in enumerate(saved):
        w, (s, x) = of_stage(parameters, k), maps[2 * k : 2 * k + 2]
        gs, gx = np.empty_like(s), np.empty_like(x)
        padded = starts(padded_sizes(w, stage))
        parts = np.empty((chunk_count(len(s)), padded[-1]), np.float32)
        flat = np.empty_like(numbers)
        answer_images_gradients(
            g_p, g_eta, g_delta, s, x, numbers, starts(flat_sizes(w)), stage, codes(activations),
            *padded_masks, *kept, gs, gx, parts, padded, flat,
        )  # fmt: skip
        map_grads += [gs, gx]
        parameter_grads += cut(flat, w)
    return tuple(map_grads), tuple(parameter_grads)
