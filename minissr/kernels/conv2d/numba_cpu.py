"""2-D convolution of the Numba backend: on registers where `numba_simd` can, else plain loops."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.conv2d import numba_loops, numba_simd
from minissr.kernels.geometry import Array, Padding, Size, pad


@register("conv2d_forward", "numba")
def conv2d_forward(
    x: Array, w: Array, bias: Array | None, stride: Size, padding: Padding, groups: int
) -> Array:
    """Convolve `x` (N, H, W, C) with `w` (KH, KW, C/groups, CO), giving (N, OH, OW, CO)."""
    if numba_simd.fits(w, stride, groups):
        return numba_simd.forward(pad(x, padding), w, bias)
    return numba_loops.forward(x, w, bias, stride, padding, groups)


@register("conv2d_input_grad", "numba")
def conv2d_input_grad(
    gy: Array, w: Array, x_shape: tuple[int, ...], stride: Size, padding: Padding, groups: int
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, CO).

    It is a convolution of `gy`, or one for each phase of the stride; see `numba_loops.input_grad`.
    """
    geometry = stride, padding, groups
    return numba_loops.input_grad(gy, w, x_shape, *geometry, convolution=conv2d_forward)


@register("conv2d_weight_grad", "numba")
def conv2d_weight_grad(
    x: Array, gy: Array, w_shape: tuple[int, ...], stride: Size, padding: Padding, groups: int
) -> Array:
    """The gradient (KH, KW, C/groups, CO) with respect to the weights."""
    if numba_simd.fits(gy, stride, groups):
        return numba_simd.weight_grad(pad(x, padding), gy, w_shape)
    return numba_loops.weight_grad(x, gy, w_shape, stride, padding, groups)
