"""Max and average pooling in NumPy: the reference, to be read beside the equations.

R[i,j] is the set of pixels of window (i, j) that lie on the image, the padding left out. With
stride (a, b), padding (top, bottom, left, right) and offsets u < KH, v < KW,

    max:      y[n,i,j,c] = max over R[i,j] of x[n,h,w,c]
              argmax     = u KW + v of the pixel that is the maximum
              gx[n,h,w,c] = sum of gy[n,i,j,c] over the windows whose maximum is (h, w)
    average:  y[n,i,j,c] = (1 / m[i,j]) sum over R[i,j] of x[n,h,w,c]
              gx[n,h,w,c] = sum of gy[n,i,j,c] / m[i,j] over the windows that contain (h, w)

where m is KH KW if the padding counts and the number of pixels in R[i,j] if not.

Ties, infinities, NaN: among equal maxima the first in row-major order of the window wins, and the
whole gradient goes to it. A padding pixel never wins, not even against -inf. A NaN beats every
number, the first NaN of a window wins, and so NaN is passed on and not hidden.

Every window has to hold a pixel of the image, which is so if each padding is smaller than the
window; the ops refuse anything else. An empty batch gives empty results.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array, Padding, Size, crop, pad, shifted, windows


def flat_windows(x: Array, size: Size, stride: Size, padding: Padding, value: float) -> Array:
    """The padded windows of `x` (N, H, W, C), each in row-major order: (N, OH, OW, C, KH KW)."""
    patches = windows(pad(x, padding, value), size, stride)  # (N, OH, OW, C, KH, KW)
    return patches.reshape(*patches.shape[:4], size[0] * size[1])


def on_image(height: int, width: int, size: Size, stride: Size, padding: Padding) -> Array:
    """Which pixels of each window lie on the image: bool (1, OH, OW, 1, KH KW)."""
    return flat_windows(np.ones((1, height, width, 1), bool), size, stride, padding, False)


def divisor(x_shape: tuple[int, ...], size: Size, stride: Size, padding: Padding) -> Array:
    """The number of pixels of the image in each window: int (1, OH, OW, 1)."""
    return on_image(x_shape[1], x_shape[2], size, stride, padding).sum(axis=4)


@register("max_pool_forward", "numpy")
def max_pool_forward(x: Array, size: Size, stride: Size, padding: Padding) -> tuple[Array, Array]:
    """The maxima (N, OH, OW, C) of `x` (N, H, W, C) and where in their windows, as int32."""
    patches = flat_windows(x, size, stride, padding, -np.inf)  # (N, OH, OW, C, KH KW)
    y = patches.max(axis=4)  # (N, OH, OW, C)
    is_max = (patches == y[..., None]) | np.isnan(patches)
    is_max &= on_image(x.shape[1], x.shape[2], size, stride, padding)
    return y, is_max.argmax(axis=4).astype(np.int32)


@register("max_pool_backward", "numpy")
def max_pool_backward(
    gy: Array,
    argmax: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    gx = pad(np.zeros(x_shape, gy.dtype), padding)  # (N, PH, PW, C)
    for u in range(size[0]):
        for v in range(size[1]):
            won = np.where(argmax == u * size[1] + v, gy, 0)  # (N, OH, OW, C)
            shifted(gx, u, v, gy.shape[1:3], stride)[...] += won
    return crop(gx, x_shape, padding)  # (N, H, W, C)


@register("avg_pool_forward", "numpy")
def avg_pool_forward(
    x: Array, size: Size, stride: Size, padding: Padding, count_include_pad: bool
) -> Array:
    """The means (N, OH, OW, C) of the windows of `x` (N, H, W, C)."""
    total = flat_windows(x, size, stride, padding, 0.0).sum(axis=4)  # (N, OH, OW, C)
    if count_include_pad:
        return total / (size[0] * size[1])
    return total / divisor(x.shape, size, stride, padding).astype(x.dtype)


@register("avg_pool_backward", "numpy")
def avg_pool_backward(
    gy: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
    count_include_pad: bool,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    if count_include_pad:
        share = gy / (size[0] * size[1])  # (N, OH, OW, C)
    else:
        share = gy / divisor(x_shape, size, stride, padding).astype(gy.dtype)
    gx = pad(np.zeros(x_shape, gy.dtype), padding)  # (N, PH, PW, C)
    for u in range(size[0]):
        for v in range(size[1]):
            shifted(gx, u, v, gy.shape[1:3], stride)[...] += share
    return crop(gx, x_shape, padding)  # (N, H, W, C)
