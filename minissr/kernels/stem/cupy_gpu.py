"""The stem of the CUDA backend: two launches forward, one backward (stem.cu, stem_grad.cu).

`composed` computes what the kernels don't: other windows and colours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minissr.kernels import cuda, register
from minissr.kernels.conv2d.cupy_gpu import TILE_CHANNELS, TILE_COLUMNS, TILE_ROWS
from minissr.kernels.stem import composed

Array = Any  # cupy.ndarray

FORWARD = cuda.Program(__file__, "stem.cu")
BACKWARD = cuda.Program(__file__, "stem_grad.cu")
# Blocks that share the tiles among them (see block.cupy_gpu); each leaves more sums than those do.
THREADS, WORKERS = 256, 256
TAPS, MOMENTS = 27, 405
WINDOW = (3, 3, 3)


class Saved(NamedTuple):
    """What `stem_backward` reads; see the heads of the `.cu` files."""

    w_relu: Array  # (3, 3, 3, split)
    w_tanh: Array
    gamma_relu: Array
    gamma_tanh: Array
    var: Array  # (CO,), both streams'
    q_mean: Array  # (27,)
    spread: Array  # (27, CO)
    y_tanh: Array  # (N, PH, PW, CO - split)
    passes: Array  # uint8 (N, PH, PW, CO), the flags


def tiles_of(n: int, rows: int, columns: int) -> int:
    """Tiles of n images of rows x columns convolved pixels."""
    return n * cuda.blocks(rows, TILE_ROWS) * cuda.blocks(columns, TILE_COLUMNS)


def groups_of(*channels: int) -> int:
    """Groups of channels, each of one stream."""
    return sum(cuda.blocks(count, TILE_CHANNELS) for count in channels)


@register("stem_forward", "cupy")
def stem_forward(
    images: Array, unit: float, offset: float, eps: float, *parameters: Array
) -> tuple[Any, ...]:
    """See `composed.forward`."""
    w_relu, bias_relu, gamma_relu, beta_relu, w_tanh, bias_tanh, gamma_tanh, beta_tanh = parameters
    if not w_relu.shape[:3] == w_tanh.shape[:3] == WINDOW:
        return composed.forward("cupy", images, unit, offset, eps, *parameters)
    n, height, width, _ = images.shape
    split, rest = w_relu.shape[3], w_tanh.shape[3]
    co, oh, ow = split + rest, height - 2, width - 2
    dtype, empty = w_relu.dtype, cuda.xp().empty
    mean, var, centre = empty(co, dtype), empty(co, dtype), empty(co, dtype)
    q_mean, spread = empty(TAPS, dtype), empty((TAPS, co), dtype)
    tiles = tiles_of(n, oh, ow)
    workers = min(tiles, WORKERS)
    sums = empty((workers, MOMENTS), "float64")
    arrays: tuple[Any, ...]
    arrays = (images, w_relu, w_tanh, bias_relu, bias_tanh, sums, mean, var, centre, q_mean, spread)
    sizes = (n, height, width, split, co, unit, offset)
    counters = cuda.arrival_counters(1)
    FORWARD.launch("stem_moments", dtype, workers, THREADS, *arrays, counters, *sizes)

    pooled = (n, oh // 2, ow // 2)
    y_relu, y_tanh = empty((*pooled, split), dtype), empty((*pooled, rest), dtype)
    flags = empty((*pooled, co), "uint8")
    norms = (gamma_relu, gamma_tanh, beta_relu, beta_tanh, centre, var)
    arrays = (images, w_relu, w_tanh, *norms, y_relu, y_tanh, flags)
    grid = (tiles // n, groups_of(split, rest), n)
    settings = (height, width, split, co, unit, eps)
    FORWARD.launch("stem_activate", dtype, grid, THREADS, *arrays, *settings)
    saved = Saved(w_relu, w_tanh, gamma_relu, gamma_tanh, var, q_mean, spread, y_tanh, flags)
    return (
        (y_relu, y_tanh),
        (mean[:split], var[:split]),
        (mean[split:], var[split:]),
        saved,
    )


@register("stem_backward", "cupy")
def stem_backward(
    g_relu: Array,
    g_tanh: Array,
    images: Array,
    unit: float,
    offset: float,
    eps: float,
    saved: Any,
) -> tuple[Any, ...]:
    """See `composed.backward`."""
    if not isinstance(saved, Saved):
        return composed.backward("cupy", g_relu, g_tanh, images, unit, offset, eps, saved)
    n, height, width, _ = images.shape
    split, rest = g_relu.shape[3], g_tanh.shape[3]
    dtype, empty = g_relu.dtype, cuda.xp().empty
    grads = [
        empty(shape, dtype)
        for of_relu in (saved.w_relu.shape, (split,), (split,))
        for shape in (of_relu, (*of_relu[:-1], rest))
    ]
    tiles, groups = tiles_of(n, 2 * g_relu.shape[1], 2 * g_relu.shape[2]), groups_of(split, rest)
    workers = min(tiles, WORKERS)
    parts = empty((workers, TAPS + 1, split + rest), dtype)
    weights = (saved.w_relu, saved.w_tanh, saved.gamma_relu, saved.gamma_tanh)
    moments = (saved.var, saved.q_mean, saved.spread)
    arrays = (g_relu, g_tanh, saved.y_tanh, saved.passes, images, *weights, *moments, parts, *grads)
    sizes = (n, height, width, split, split + rest, unit, eps)
    counters = cuda.arrival_counters(groups)
    BACKWARD.launch("stem_grad", dtype, (workers, groups), THREADS, *arrays, counters, *sizes)
    return tuple(grads[0::2]), tuple(grads[1::2])
