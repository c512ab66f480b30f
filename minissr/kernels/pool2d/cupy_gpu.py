"""Max and average pooling on the GPU: one thread for each number of the result (pool2d.cu)."""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.geometry import Padding, Size, output_size

Array = Any  # cupy.ndarray

POOL2D = cuda.Program(__file__, "pool2d.cu")
THREADS = 256


def geometry(
    x_shape: tuple[int, ...], out: Size, size: Size, stride: Size, padding: Padding
) -> tuple[int, ...]:
    """H, W, C, OH, OW, KH, KW, SH, SW, top, left: what every kernel here is told."""
    return (*x_shape[1:], *out, *size, *stride, padding[0], padding[2])


@register("max_pool_forward", "cupy")
def max_pool_forward(x: Array, size: Size, stride: Size, padding: Padding) -> tuple[Array, Array]:
    """The maxima (N, OH, OW, C) of `x` (N, H, W, C) and where in their windows, as int32."""
    out = output_size(x.shape[1], x.shape[2], size, stride, padding)
    y = cuda.xp().empty((x.shape[0], *out, x.shape[3]), x.dtype)
    argmax = cuda.xp().empty(y.shape, "int32")
    arguments = (x, y, argmax, y.size, *geometry(x.shape, out, size, stride, padding))
    POOL2D.launch("max_pool_forward", x.dtype, cuda.blocks(y.size, THREADS), THREADS, *arguments)
    return y, argmax


@register("max_pool_backward", "cupy")
def max_pool_backward(
    gy: Array,
    argmax: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    gx = cuda.xp().empty(x_shape, gy.dtype)
    sizes = geometry(x_shape, gy.shape[1:3], size, stride, padding)
    arguments = (gy, argmax, gx, gx.size, *sizes)
    POOL2D.launch("max_pool_backward", gy.dtype, cuda.blocks(gx.size, THREADS), THREADS, *arguments)
    return gx


@register("avg_pool_forward", "cupy")
def avg_pool_forward(
    x: Array, size: Size, stride: Size, padding: Padding, count_include_pad: bool
) -> Array:
    """The means (N, OH, OW, C) of the windows of `x` (N, H, W, C)."""
    out = output_size(x.shape[1], x.shape[2], size, stride, padding)
    y = cuda.xp().empty((x.shape[0], *out, x.shape[3]), x.dtype)
    sizes = geometry(x.shape, out, size, stride, padding)
    arguments = (x, y, y.size, *sizes, count_include_pad)
    POOL2D.launch("avg_pool_forward", x.dtype, cuda.blocks(y.size, THREADS), THREADS, *arguments)
    return y


@register("avg_pool_backward", "cupy")
def avg_pool_backward(
    gy: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
    count_include_pad: bool,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    gx = cuda.xp().empty(x_shape, gy.dtype)
    sizes = geometry(x_shape, gy.shape[1:3], size, stride, padding)
    arguments = (gy, gx, gx.size, *sizes, count_include_pad)
    POOL2D.launch("avg_pool_backward", gy.dtype, cuda.blocks(gx.size, THREADS), THREADS, *arguments)
    return gx
