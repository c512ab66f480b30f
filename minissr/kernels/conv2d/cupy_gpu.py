"""2-D convolution on the GPU: which kernel of the `.cu` files computes what.

A 3x3 convolution without padding runs in conv3x3.cu, one in groups in conv_groups.cu, any other in
conv_gemm.cu. The gradients of an ungrouped convolution are matrix products for every size.
"""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.geometry import Padding, Size, output_size

Array = Any  # cupy.ndarray

CONV3X3 = cuda.Program(__file__, "conv3x3.cu")
GEMM = cuda.Program(__file__, "conv_gemm.cu")
GROUPS = cuda.Program(__file__, "conv_groups.cu")
TILE_ROWS, TILE_COLUMNS, TILE_CHANNELS = 8, 16, 32  # conv_tile.cuh
GEMM_ROWS, GEMM_COLUMNS, GEMM_THREADS = 64, 32, 128  # conv_gemm.cu


def geometry(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], out: Size, stride: Size, padding: Padding
) -> tuple[int, ...]:
    """H, W, C, OH, OW, CO, KH, KW, SH, SW, top, left: what the general kernels are told."""
    _, h, w, c = x_shape
    kh, kw, _, co = w_shape
    return (h, w, c, *out, co, kh, kw, *stride, padding[0], padding[2])


@register("conv2d_forward", "cupy")
def conv2d_forward(
    x: Array, w: Array, bias: Array | None, stride: Size, padding: Padding, groups: int
) -> Array:
    """Convolve `x` (N, H, W, C) with `w` (KH, KW, C/groups, CO), giving (N, OH, OW, CO)."""
    n, height, width, c = x.shape
    kh, kw, _, co = w.shape
    oh, ow = output_size(height, width, (kh, kw), stride, padding)
    y = cuda.xp().empty((n, oh, ow, co), x.dtype)
    if groups == 1 and (kh, kw, stride) == (3, 3, (1, 1)) and not any(padding):
        tiles = cuda.blocks(oh, TILE_ROWS) * cuda.blocks(ow, TILE_COLUMNS)
        grid = (tiles, cuda.blocks(co, TILE_CHANNELS), n)
        CONV3X3.launch(
            "conv3x3_blocked", x.dtype, grid, 256, x, w, bias, y, n, height, width, c, co
        )
        return y
    sizes = geometry(x.shape, w.shape, (oh, ow), stride, padding)
    arguments: tuple[Any, ...]
    if groups == 1:
        windows = n * oh * ow
        blocks = (cuda.blocks(windows, GEMM_ROWS), cuda.blocks(co, GEMM_COLUMNS))
        arguments = (x, w, bias, y, windows, *sizes)
        GEMM.launch("conv_gemm_forward", x.dtype, blocks, GEMM_THREADS, *arguments)
    else:
        arguments = (x, w, bias, y, y.size, *sizes, groups)
        GROUPS.launch("conv_groups_forward", x.dtype, cuda.blocks(y.size, 256), 256, *arguments)
    return y


@register("conv2d_input_grad", "cupy")
def conv2d_input_grad(
    gy: Array, w: Array, x_shape: tuple[int, ...], stride: Size, padding: Padding, groups: int
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, CO)."""
    n, height, width, c = x_shape
    gx = cuda.xp().empty(x_shape, gy.dtype)
    sizes = geometry(x_shape, w.shape, gy.shape[1:3], stride, padding)
    if groups == 1:
        pixels = n * height * width
        grid = (cuda.blocks(pixels, GEMM_ROWS), cuda.blocks(c, GEMM_COLUMNS))
        arguments = (gy, w, gx, pixels, *sizes)
        GEMM.launch("conv_gemm_input_grad", gy.dtype, grid, GEMM_THREADS, *arguments)
    else:
        blocks = cuda.blocks(gx.size, 256)
        arguments = (gy, w, gx, gx.size, *sizes, groups)
        GROUPS.launch("conv_groups_input_grad", gy.dtype, blocks, 256, *arguments)
    return gx


@register("conv2d_weight_grad", "cupy")
def conv2d_weight_grad(
    x: Array, gy: Array, w_shape: tuple[int, ...], stride: Size, padding: Padding, groups: int
) -> Array:
    """The gradient (KH, KW, C/groups, CO) with respect to the weights."""
    n, oh, ow, co = gy.shape
    windows = n * oh * ow
    weights = w_shape[0] * w_shape[1] * w_shape[2] * co
    if not windows:  # an empty batch
        return cuda.xp().zeros(w_shape, x.dtype)
    sizes = geometry(x.shape, w_shape, (oh, ow), stride, padding)
    if groups == 1:
        tiles = (cuda.blocks(weights // co, GEMM_ROWS), cuda.blocks(co, GEMM_COLUMNS))
        parts, share = cuda.shares(windows, tiles[0] * tiles[1])
        partial = cuda.xp().empty((parts, *w_shape), x.dtype)
        arguments = (x, gy, partial, windows, share, *sizes)
        GEMM.launch("conv_gemm_weight_grad", x.dtype, (*tiles, parts), GEMM_THREADS, *arguments)
    else:
        blocks = cuda.blocks(weights, 128)
        parts, share = cuda.shares(windows, blocks)
        partial = cuda.xp().empty((parts, *w_shape), x.dtype)
        arguments = (x, gy, partial, windows, share, *sizes, groups)
        GROUPS.launch("conv_groups_weight_grad", x.dtype, (blocks, parts), 128, *arguments)
    return add_parts(partial)


def add_parts(partial: Array) -> Array:
    """The sum over the first axis of `partial` (parts, ...), always in the same order."""
    parts, *shape = partial.shape
    if parts == 1:
        return partial.reshape(shape)
    total = cuda.xp().empty(shape, partial.dtype)
    arguments = (partial, total, parts, total.size)
    GEMM.launch("sum_parts", partial.dtype, cuda.blocks(total.size, 128), 128, *arguments)
    return total
