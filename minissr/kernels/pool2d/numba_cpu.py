"""Max and average pooling in Numba. Equations, ties, infinities and NaN: see `numpy_ref`.

The innermost loops walk along the channels, which NHWC keeps side by side. Forward takes a row of
windows at a time, backward a row of the image: each row gathers from all windows above it, so no
two threads ever add to the same number and the order of every sum is fixed.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array, Padding, Size, output_size
from minissr.kernels.jit import njit, pjit, prange


@njit
def window(i, size, stride, before, length):
    """Where window i starts, and from which to before which of its pixels it lies on the image."""
    first = i * stride - before
    return first, max(0, -first), min(size, length - first)


@njit
def windows_over(place, size, stride, before, count):
    """The windows first .. end - 1, of `count`, that cover pixel `place` of the image."""
    past = place + before - size + stride  # stride times the first window, rounded up
    first = past // stride if past > 0 else 0
    return first, min((place + before) // stride + 1, count)


@njit
def share(i, j, size, stride, padding, height, width, count_include_pad):
    """1 / the number of pixels that window (i, j) averages over."""
    if count_include_pad:
        return 1.0 / (size[0] * size[1])
    _, u0, u1 = window(i, size[0], stride[0], padding[0], height)
    _, v0, v1 = window(j, size[1], stride[1], padding[2], width)
    return 1.0 / ((u1 - u0) * (v1 - v0))


@pjit
def max_rows(x, size, stride, padding, y, argmax):
    n, height, width, channels = x.shape
    _, oh, ow, _ = y.shape
    for row in prange(n * oh):
        image, i = row // oh, row % oh
        top, u0, u1 = window(i, size[0], stride[0], padding[0], height)
        for j in range(ow):
            left, v0, v1 = window(j, size[1], stride[1], padding[2], width)
            best, place = y[image, i, j], argmax[image, i, j]
            first, index = x[image, top + u0, left + v0], np.int32(u0 * size[1] + v0)
            for c in range(channels):
                best[c], place[c] = first[c], index
            for u in range(u0, u1):
                for v in range(v0, v1):
                    seen, index = x[image, top + u, left + v], np.int32(u * size[1] + v)
                    for c in range(channels):
                        value, champion = seen[c], best[c]
                        # larger, or the first NaN: only NaN is neither <= nor equal to itself
                        wins = (not value <= champion) & (champion == champion)
                        best[c] = value if wins else champion
                        place[c] = index if wins else place[c]


@pjit
def max_rows_backward(gy, argmax, size, stride, padding, gx):
    n, height, width, channels = gx.shape
    _, oh, ow, _ = gy.shape
    for row in prange(n * height):
        image, h = row // height, row % height
        i0, i1 = windows_over(h, size[0], stride[0], padding[0], oh)
        for i in range(i0, i1):
            u = h + padding[0] - i * stride[0]
            for j in range(ow):
                left, v0, v1 = window(j, size[1], stride[1], padding[2], width)
                g, place = gy[image, i, j], argmax[image, i, j]
                for v in range(v0, v1):
                    total, index = gx[image, h, left + v], u * size[1] + v
                    for c in range(channels):
                        total[c] += g[c] if place[c] == index else g.dtype.type(0)


@pjit
def mean_rows(x, size, stride, padding, count_include_pad, y):
    n, height, width, channels = x.shape
    _, oh, ow, _ = y.shape
    for row in prange(n * oh):
        image, i = row // oh, row % oh
        top, u0, u1 = window(i, size[0], stride[0], padding[0], height)
        for j in range(ow):
            left, v0, v1 = window(j, size[1], stride[1], padding[2], width)
            mean = y[image, i, j]
            for u in range(u0, u1):
                for v in range(v0, v1):
                    seen = x[image, top + u, left + v]
                    for c in range(channels):
                        mean[c] += seen[c]
            weight = mean.dtype.type(
                share(i, j, size, stride, padding, height, width, count_include_pad)
            )
            for c in range(channels):
                mean[c] *= weight


@pjit
def mean_rows_backward(gy, size, stride, padding, count_include_pad, gx):
    n, height, width, channels = gx.shape
    _, oh, ow, _ = gy.shape
    for row in prange(n * height):
        image, h = row // height, row % height
        i0, i1 = windows_over(h, size[0], stride[0], padding[0], oh)
        for i in range(i0, i1):
            for j in range(ow):
                left, v0, v1 = window(j, size[1], stride[1], padding[2], width)
                g = gy[image, i, j]
                weight = g.dtype.type(
                    share(i, j, size, stride, padding, height, width, count_include_pad)
                )
                for v in range(v0, v1):
                    total = gx[image, h, left + v]
                    for c in range(channels):
                        total[c] += g[c] * weight


@register("max_pool_forward", "numba")
def max_pool_forward(x: Array, size: Size, stride: Size, padding: Padding) -> tuple[Array, Array]:
    """The maxima (N, OH, OW, C) of `x` (N, H, W, C) and where in their windows, as int32."""
    n, h, w, c = x.shape
    shape = (n, *output_size(h, w, size, stride, padding), c)
    y, argmax = np.empty(shape, x.dtype), np.empty(shape, np.int32)
    max_rows(x, size, stride, padding, y, argmax)
    return y, argmax


@register("max_pool_backward", "numba")
def max_pool_backward(
    gy: Array,
    argmax: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    gx = np.zeros(x_shape, gy.dtype)
    max_rows_backward(gy, argmax, size, stride, padding, gx)
    return gx


@register("avg_pool_forward", "numba")
def avg_pool_forward(
    x: Array, size: Size, stride: Size, padding: Padding, count_include_pad: bool
) -> Array:
    """The means (N, OH, OW, C) of the windows of `x` (N, H, W, C)."""
    n, h, w, c = x.shape
    y = np.zeros((n, *output_size(h, w, size, stride, padding), c), x.dtype)
    mean_rows(x, size, stride, padding, count_include_pad, y)
    return y


@register("avg_pool_backward", "numba")
def avg_pool_backward(
    gy: Array,
    x_shape: tuple[int, ...],
    size: Size,
    stride: Size,
    padding: Padding,
    count_include_pad: bool,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, C)."""
    gx = np.zeros(x_shape, gy.dtype)
    mean_rows_backward(gy, size, stride, padding, count_include_pad, gx)
    return gx
