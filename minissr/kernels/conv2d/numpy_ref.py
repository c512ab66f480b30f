"""2-D convolution in NumPy: the reference, to be read beside the equations.

With x~ the input padded by zeros, stride (a, b), and C = G c input channels in G groups of c that
meet CO = G o output channels in G groups of o,

    y[n,i,j,q] = bias[q] + sum_{u,v,k} x~[n, i a + u, j b + v, g c + k] w[u,v,k,q],    g = q div o

(a cross-correlation, as in every framework: the kernel is not flipped). G = 1 is the ordinary
convolution; G = C is the depthwise one, with CO / C outputs for each channel; KH = KW = 1 is a
matrix product at each pixel.

y is linear in x~ and in w, so each gradient is y's sum transposed, g_y in the place of y:

    gw[u,v,k,q]              = sum_{n,i,j} x~[n, i a + u, j b + v, g c + k] gy[n,i,j,q]
    gx~[n, i a + u, j b + v] = the sum, over every (i, j) and (u, v) that meet there, of
                               sum_q gy[n,i,j,q] w[u,v,:,q]

and gx is gx~ without its padding. (gbias is the sum of gy over n, i and j.)

An empty batch gives an empty y, an empty gx and a gw of zeros.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array, Padding, Size, crop, pad, shifted, windows


def split_windows(x: Array, size: Size, stride: Size, padding: Padding, groups: int) -> Array:
    """The zero-padded windows of `x` (N, H, W, C) by group: (N, OH, OW, G, C/G, KH, KW)."""
    patches = windows(pad(x, padding), size, stride)  # (N, OH, OW, C, KH, KW)
    n, oh, ow, c, kh, kw = patches.shape
    return patches.reshape(n, oh, ow, groups, c // groups, kh, kw)


def split_channels(a: Array, groups: int) -> Array:
    """The last axis, output channels, by group: (..., CO) -> (..., G, CO/G)."""
    return a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups)


@register("conv2d_forward", "numpy")
def conv2d_forward(
    x: Array, w: Array, bias: Array | None, stride: Size, padding: Padding, groups: int
) -> Array:
    """Convolve `x` (N, H, W, C) with `w` (KH, KW, C/groups, CO), giving (N, OH, OW, CO)."""
    patches = split_windows(x, w.shape[:2], stride, padding, groups)  # (N, OH, OW, G, C/G, KH, KW)
    filters = split_channels(w, groups)  # (KH, KW, C/G, G, CO/G)
    y = np.concatenate(
        [
            np.tensordot(patches[:, :, :, g], filters[:, :, :, g], axes=((3, 4, 5), (2, 0, 1)))
            for g in range(groups)
        ],
        axis=-1,
    )  # (N, OH, OW, CO)
    return y if bias is None else y + bias


@register("conv2d_input_grad", "numpy")
def conv2d_input_grad(
    gy: Array,
    w: Array,
    x_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
) -> Array:
    """The gradient (N, H, W, C) with respect to the input, from `gy` (N, OH, OW, CO)."""
    kh, kw = w.shape[:2]
    out = gy.shape[1:3]
    gy, filters = split_channels(gy, groups), split_channels(w, groups)
    g_patches = np.concatenate(
        [np.tensordot(gy[:, :, :, g], filters[:, :, :, g], axes=(3, 3)) for g in range(groups)],
        axis=-1,
    )  # (N, OH, OW, KH, KW, C)

    n, h, width, c = x_shape
    top, bottom, left, right = padding
    gx = np.zeros((n, top + h + bottom, left + width + right, c), gy.dtype)
    for u in range(kh):
        for v in range(kw):
            shifted(gx, u, v, out, stride)[...] += g_patches[:, :, :, u, v]
    return crop(gx, x_shape, padding)  # (N, H, W, C)


@register("conv2d_weight_grad", "numpy")
def conv2d_weight_grad(
    x: Array,
    gy: Array,
    w_shape: tuple[int, ...],
    stride: Size,
    padding: Padding,
    groups: int,
) -> Array:
    """The gradient (KH, KW, C/groups, CO) with respect to the weights."""
    kh, kw = w_shape[:2]
    patches = split_windows(x, (kh, kw), stride, padding, groups)  # (N, OH, OW, G, C/G, KH, KW)
    gy = split_channels(gy, groups)  # (N, OH, OW, G, CO/G)
    gw = np.concatenate(
        [
            np.tensordot(patches[:, :, :, g], gy[:, :, :, g], axes=((0, 1, 2), (0, 1, 2)))
            for g in range(groups)
        ],
        axis=-1,
    )  # (C/G, KH, KW, CO)
    return np.ascontiguousarray(gw.transpose(1, 2, 0, 3))  # (KH, KW, C/G, CO)
