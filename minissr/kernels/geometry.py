"""Where the windows of a convolution or a pooling lie.

A window of size (KH, KW) slides with stride (sh, sw) over an image that is first padded by
(top, bottom, left, right) pixels. Window (i, j) covers the pixels (i sh + u - top, j sw + v - left)
of the image, u < KH and v < KW. Windows that would reach past the padded edge don't exist, so up to
sh - 1 last rows and sw - 1 last columns may belong to no window.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Size = tuple[int, int]
Padding = tuple[int, int, int, int]


def output_size(height: int, width: int, size: Size, stride: Size, padding: Padding) -> Size:
    """The number of windows (OH, OW) over an image of `height` x `width` pixels.

    Below 1 where the window is larger than the padded image; the ops refuse that.
    """
    top, bottom, left, right = padding
    return (
        (height + top + bottom - size[0]) // stride[0] + 1,
        (width + left + right - size[1]) // stride[1] + 1,
    )


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """`x` (N, H, W, C) with `padding` pixels of `value` around; `x` itself if there are none."""
    if not any(padding):
        return x
    top, bottom, left, right = padding
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(x, around, constant_values=value)  # (N, top + H + bottom, left + W + right, C)


def crop(padded: Array, x_shape: tuple[int, ...], padding: Padding) -> Array:
    """Undo `pad`: the (N, H, W, C) of `x_shape` inside the padded array, contiguous."""
    top, _, left, _ = padding
    _, height, width, _ = x_shape
    return np.ascontiguousarray(padded[:, top : top + height, left : left + width])


def windows(padded: Array, size: Size, stride: Size) -> Array:
    """A view of every window: (N, PH, PW, C) -> (N, OH, OW, C, KH, KW)."""
    every = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1]]


def shifted(padded: Array, u: int, v: int, out: Size, stride: Size) -> Array:
    """A view of what lies under offset (u, v) of every window: (N, PH, PW, C) -> (N, OH, OW, C)."""
    (oh, ow), (sh, sw) = out, stride
    return padded[:, u : u + oh * sh : sh, v : v + ow * sw : sw]
