"""The fully connected layer on the GPU: a convolution of images of one pixel (conv_gemm.cu).

Its matrix product is tiled and sums in a fixed order, whatever the batch. The bias's gradient is
the same product with a column of ones.
"""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.conv2d import cupy_gpu as conv2d

Array = Any  # cupy.ndarray
STRIDE, VALID, GROUPS = (1, 1), (0, 0, 0, 0), 1


def as_pixels(rows: Array) -> Array:
    """(N, C) -> (N, 1, 1, C)."""
    return rows.reshape(len(rows), 1, 1, -1)


@register("dense_forward", "cupy")
def dense_forward(x: Array, w: Array, b: Array | None) -> Array:
    """x (N, I), w (I, O), b (O,) or None -> (N, O)."""
    y = conv2d.conv2d_forward(as_pixels(x), w.reshape(1, 1, *w.shape), b, STRIDE, VALID, GROUPS)
    return y.reshape(len(x), -1)


@register("dense_input_grad", "cupy")
def dense_input_grad(g: Array, w: Array) -> Array:
    """g (N, O) -> (N, I)."""
    shape = (len(g), 1, 1, len(w))
    kernel = conv2d.conv2d_input_grad
    return kernel(as_pixels(g), w.reshape(1, 1, *w.shape), shape, STRIDE, VALID, GROUPS).reshape(
        len(g), -1
    )


@register("dense_weight_grad", "cupy")
def dense_weight_grad(x: Array, g: Array) -> Array:
    """x (N, I), g (N, O) -> (I, O)."""
    shape = (1, 1, x.shape[1], g.shape[1])
    kernel = conv2d.conv2d_weight_grad
    return kernel(as_pixels(x), as_pixels(g), shape, STRIDE, VALID, GROUPS).reshape(shape[2:])


@register("dense_bias_grad", "cupy")
def dense_bias_grad(g: Array) -> Array:
    """g (N, O) -> (O,)."""
    ones = cuda.xp().ones((len(g), 1), g.dtype)
    return dense_weight_grad(ones, g).reshape(-1)
