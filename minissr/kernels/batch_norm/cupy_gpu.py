"""Batch normalisation on the GPU (batch_norm.cu): sums in parts, then one pass over the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minissr.kernels import cuda, register

Array = Any  # cupy.ndarray

BATCH_NORM = cuda.Program(__file__, "batch_norm.cu")
CHANNELS, LANES = 32, 8  # of a block that sums
THREADS = 256
LAYERS = 4  # of a launch of batch_norm_follow


def rows_of(x: Array) -> tuple[int, int]:
    """(M, C): how many rows `x` (..., C) has, and how many channels."""
    c = x.shape[-1]
    return x.size // c, c


def moments(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance, each (C,), of the rows of `x` (..., C)."""
    m, c = rows_of(x)
    groups = cuda.blocks(c, CHANNELS)
    parts, share = cuda.shares(m, groups)
    partial = cuda.xp().empty((parts, 2, c), x.dtype)
    mean, var = cuda.xp().empty(c, x.dtype), cuda.xp().empty(c, x.dtype)
    block = (CHANNELS, LANES)
    BATCH_NORM.launch(
        "batch_norm_moments", x.dtype, (groups, parts), block, x, partial, m, c, share
    )
    arguments = (partial, mean, var, m, c, share, parts)
    BATCH_NORM.launch("batch_norm_merge", x.dtype, groups, block, *arguments)
    return mean, var


def parameter_grads(
    gy: Array, x: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """ggamma (C,) and gbeta (C,)."""
    m, c = rows_of(x)
    ggamma, gbeta = cuda.xp().empty(c, x.dtype), cuda.xp().empty(c, x.dtype)
    groups = cuda.blocks(c, CHANNELS)
    parts, share = cuda.shares(m, groups)
    partial = cuda.xp().empty((parts, 2, c), x.dtype)
    block = (CHANNELS, LANES)
    arguments: tuple[Any, ...] = (gy, x, mean, var, partial, m, c, share, eps)
    BATCH_NORM.launch("batch_norm_grad_sums", x.dtype, (groups, parts), block, *arguments)
    arguments = (partial, gbeta, ggamma, c, parts)
    BATCH_NORM.launch(
        "batch_norm_grad_merge", x.dtype, cuda.blocks(2 * c, CHANNELS), block, *arguments
    )
    return ggamma, gbeta


@register("batch_norm_train_forward", "cupy")
def batch_norm_train_forward(
    x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Normalise `x` (..., C) by its own statistics: y (..., C), mean (C,), biased variance (C,)."""
    mean, var = moments(x)
    return batch_norm_eval_forward(x, gamma, beta, mean, var, eps), mean, var


@register("batch_norm_train_backward", "cupy")
def batch_norm_train_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being functions of x."""
    m, c = rows_of(x)
    ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    gx = cuda.xp().empty(x.shape, x.dtype)
    arguments = (gy, x, gamma, mean, var, gbeta, ggamma, gx, m, c, eps)
    blocks = cuda.blocks(x.size, THREADS)
    BATCH_NORM.launch("batch_norm_train_grad", x.dtype, blocks, THREADS, *arguments)
    return gx, ggamma, gbeta


@register("batch_norm_eval_forward", "cupy")
def batch_norm_eval_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> Array:
    """Normalise `x` (..., C) by the given statistics."""
    y = cuda.xp().empty(x.shape, x.dtype)
    arguments = (x, gamma, beta, mean, var, y, x.size, x.shape[-1], eps)
    blocks = cuda.blocks(x.size, THREADS)
    BATCH_NORM.launch("batch_norm_apply", x.dtype, blocks, THREADS, *arguments)
    return y


@register("batch_norm_eval_backward", "cupy")
def batch_norm_eval_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being constants."""
    ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    gx = cuda.xp().empty(x.shape, x.dtype)
    arguments = (gy, gamma, var, gx, x.size, x.shape[-1], eps)
    blocks = cuda.blocks(x.size, THREADS)
    BATCH_NORM.launch("batch_norm_eval_grad", x.dtype, blocks, THREADS, *arguments)
    return gx, ggamma, gbeta


@register("batch_norm_follow", "cupy")
def batch_norm_follow(
    moving: Sequence[tuple[Array, Array]],
    batch: Sequence[tuple[Array, Array]],
    rates: Sequence[float],
    corrections: Sequence[float],
) -> None:
    """Moving statistics of several layers follow a batch's, in place; four layers in a launch."""
    for first in range(0, len(moving), LAYERS):
        some = slice(first, first + LAYERS)
        spare = LAYERS - len(moving[some])
        pointers = [
            array
            for pairs in (moving, batch)
            for pair in [*pairs[some], *[(None, None)] * spare]
            for array in pair
        ]
        sizes = [len(mean) for mean, _ in moving[some]]
        numbers = [
            value
            for values in (sizes, rates[some], corrections[some])
            for value in [*values, *[0] * spare]
        ]
        grid = (cuda.blocks(max(sizes), THREADS), LAYERS)
        dtype = moving[first][0].dtype
        BATCH_NORM.launch("batch_norm_follow", dtype, grid, THREADS, *pointers, *numbers)
