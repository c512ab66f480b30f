"""The stream block of the CUDA backend: two launches forward, four backward, one to answer.

The convolution's output is written once, by the launch that also takes its statistics; everything
behind it (batch norm, activation, pooling, and their gradients) is computed where it is needed and
never stored. block.cu and block_grad.cu have the kernels.
"""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.block import composed
from minissr.kernels.conv2d.cupy_gpu import TILE_CHANNELS, TILE_COLUMNS, TILE_ROWS, add_parts

Array = Any  # cupy.ndarray

FORWARD = cuda.Program(__file__, "block.cu")
BACKWARD = cuda.Program(__file__, "block_grad.cu")
ACTIVATIONS = {"relu": 0, "tanh": 1}  # as block_point.cuh numbers them
POOLS = {"avg": 0, "max": 1, "none": 2}
THREADS, CHANNELS, LANES = 256, 32, 8
GW_ROWS = 4  # of a tile of block_weight_grad
# Blocks that share the tiles of a sum among them. Fixed, so that the rounding is everywhere the
# same; enough to fill a large device, few enough that one block can add up what they leave.
WORKERS = 512
# A block leaves as many sums as there are weights, so it has to have summed some tiles.
LEAST_TILES = 4
LARGEST_WINDOW = 3  # what fits into shared memory


def fits(w: Array) -> bool:
    """Whether the fused kernels hold a window of this size in shared memory."""
    return max(w.shape[:2]) <= LARGEST_WINDOW


def defines(w: Array, x: Array | None = None) -> dict[str, Any]:
    """What the programs are compiled for: the size of the window, and pixels or floats."""
    given = {"KH": w.shape[0], "KW": w.shape[1]}
    if x is not None:
        given["INPUT"] = "byte" if x.dtype == "uint8" else "real"
    return given


def conv_shape(x: Array, w: Array) -> tuple[int, int, int, int]:
    """(N, OH, OW, CO) of the convolution."""
    n, height, width, _ = x.shape
    kh, kw, _, co = w.shape
    return n, height - kh + 1, width - kw + 1, co


@register("block_forward", "cupy")
def block_forward(
    x: Array,
    w: Array,
    bias: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    activation: str,
    pool: str,
) -> tuple[Array, Array, Array, tuple[Array, ...]]:
    """See `composed.forward`; `saved` is the convolution's output."""
    if not fits(w):
        return composed.forward("cupy", x, w, bias, gamma, beta, eps, activation, pool)
    n, oh, ow, co = conv_shape(x, w)
    dtype, empty = w.dtype, cuda.xp().empty
    z, mean, var = empty((n, oh, ow, co), dtype), empty(co, dtype), empty(co, dtype)
    tiles = n * cuda.blocks(oh, TILE_ROWS) * cuda.blocks(ow, TILE_COLUMNS)
    groups = cuda.blocks(co, TILE_CHANNELS)
    workers = min(tiles, WORKERS)
    parts = empty((workers, 3, co), dtype)
    counters = cuda.arrival_counters(groups)
    arguments = (x, w, bias, z, parts, mean, var, counters, *x.shape, co)
    FORWARD.launch(
        "block_convolve", dtype, (workers, groups), THREADS, *arguments, defines=defines(w, x)
    )

    shape = (n, oh, ow, co) if pool == "none" else (n, oh // 2, ow // 2, co)
    y = empty(shape, dtype)
    settings = (y.size, oh, ow, co, eps, ACTIVATIONS[activation], POOLS[pool])
    arguments = (z, gamma, beta, mean, var, y, *settings)
    blocks = cuda.blocks(y.size, THREADS)
    FORWARD.launch("block_activate", dtype, blocks, THREADS, *arguments, defines=defines(w, x))
    return y, mean, var, (z,)


@register("block_eval_forward", "cupy")
def block_eval_forward(
    x: Array,
    w: Array,
    bias: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    eps: float,
    activation: str,
    pool: str,
) -> Array:
    """See `composed.eval_forward`; one launch."""
    if not fits(w):
        given = (x, w, bias, gamma, beta, mean, var, eps, activation, pool)
        return composed.eval_forward("cupy", *given)
    n, oh, ow, co = conv_shape(x, w)
    y = cuda.xp().empty((n, oh, ow, co) if pool == "none" else (n, oh // 2, ow // 2, co), w.dtype)
    tiles = cuda.blocks(oh, TILE_ROWS) * cuda.blocks(ow, TILE_COLUMNS)
    grid = (tiles, cuda.blocks(co, TILE_CHANNELS), n)
    arguments = (x, w, bias, gamma, beta, mean, var)
    settings = (*x.shape[1:], co, eps, ACTIVATIONS[activation], POOLS[pool])
    FORWARD.launch(
        "block_answer", w.dtype, grid, THREADS, *arguments, y, *settings, defines=defines(w, x)
    )
    return y


@register("block_backward", "cupy")
def block_backward(
    gy: Array,
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    activation: str,
    pool: str,
    mean: Array,
    var: Array,
    saved: tuple[Array, ...],
    need_gx: bool,
    onto: Array | None = None,
) -> tuple[Any, ...]:
    """Gradients of `block_forward`: (gx or None, gw, gbias, ggamma, gbeta); `gbias` is zero.

    With `onto`, gx is added to it in place, and it is returned for gx.
    """
    arguments: tuple[Any, ...]
    if not fits(w):
        arguments = (gy, x, w, gamma, beta, eps, activation, pool, mean, var, saved, need_gx, onto)
        return composed.backward("cupy", *arguments)
    (z,) = saved
    n, height, width, c = x.shape
    _, oh, ow, co = z.shape
    dtype, empty = w.dtype, cuda.xp().empty
    kinds = (ACTIVATIONS[activation], POOLS[pool])
    groups = cuda.blocks(co, CHANNELS)

    gbeta, ggamma, gbias = empty(co, dtype), empty(co, dtype), empty(co, dtype)
    rows, columns = ((oh + 1) // 2, (ow + 1) // 2) if pool == "none" else (oh // 2, ow // 2)
    workers, share = cuda.shares(n * rows * columns, groups)
    parts = empty((workers, 2, co), dtype)
    statistics = (gamma, beta, mean, var)
    sums = (gbeta, ggamma, gbias)
    arguments = (gy, z, *statistics, parts, *sums, cuda.arrival_counters(groups))
    settings = (n, oh, ow, co, share, eps, *kinds)
    BACKWARD.launch(
        "block_grad_sums",
        dtype,
        (workers, groups),
        (CHANNELS, LANES),
        *arguments,
        *settings,
        defines=defines(w, x),
    )

    tiles = n * cuda.blocks(oh, GW_ROWS) * cuda.blocks(ow, TILE_COLUMNS)
    workers = min(cuda.blocks(tiles, LEAST_TILES), WORKERS // 4)
    partial = empty((workers, *w.shape), dtype)
    sizes = (n, height, width, c, co, eps, *kinds)
    grid = (workers, cuda.blocks(c, CHANNELS), groups)
    arguments = (x, gy, z, *statistics, gbeta, ggamma, partial, *sizes)
    BACKWARD.launch("block_weight_grad", dtype, grid, THREADS, *arguments, defines=defines(w, x))
    gw = add_parts(partial)

    gx = None
    if need_gx:
        gx = empty(x.shape, dtype) if onto is None else onto
        tiles = cuda.blocks(height, TILE_ROWS) * cuda.blocks(width, TILE_COLUMNS)
        grid = (tiles, cuda.blocks(c, TILE_CHANNELS), n)
        arguments = (gy, z, w, *statistics, gbeta, ggamma, gx, *sizes, onto is not None)
        BACKWARD.launch("block_input_grad", dtype, grid, THREADS, *arguments, defines=defines(w, x))
    return gx, gw, gbias, ggamma, gbeta
