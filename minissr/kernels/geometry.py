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


def cut(a: Array, top: int, left: int, height: int, width: int, outside: float = 0.0) -> Array:
    """Rows top .. top + height and columns left .. left + width of `a` (N, H, W, C).

    `top` and `left` may be negative and the part may reach past the far edges; what lies outside
    `a` is `outside`. The result is contiguous, and `a` itself if that is what was asked for.
    """
    n, h, w, c = a.shape
    if (top, left, height, width) == (0, 0, h, w):
        return a
    part = np.full((n, height, width, c), outside, a.dtype)
    rows = slice(max(top, 0), min(top + height, h))
    columns = slice(max(left, 0), min(left + width, w))
    if rows.start < rows.stop and columns.start < columns.stop:
        part[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = a[
            :, rows, columns
        ]
    return part  # (N, height, width, C)


def pad(x: Array, padding: Padding, value: float = 0.0) -> Array:
    """`x` (N, H, W, C) with `padding` pixels of `value` around; `x` itself if there are none."""
    top, bottom, left, right = padding
    _, h, w, _ = x.shape
    return cut(x, -top, -left, top + h + bottom, left + w + right, value)


def crop(padded: Array, x_shape: tuple[int, ...], padding: Padding) -> Array:
    """Undo `pad`: the (N, H, W, C) of `x_shape` inside the padded array, contiguous."""
    return cut(padded, padding[0], padding[2], x_shape[1], x_shape[2])


def windows(padded: Array, size: Size, stride: Size) -> Array:
    """A view of every window: (N, PH, PW, C) -> (N, OH, OW, C, KH, KW)."""
    every = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    return every[:, :: stride[0], :: stride[1]]


def shifted(padded: Array, u: int, v: int, out: Size, stride: Size) -> Array:
    """A view of what lies under offset (u, v) of every window: (N, PH, PW, C) -> (N, OH, OW, C)."""
    (oh, ow), (sh, sw) = out, stride
    return padded[:, u : u + oh * sh : sh, v : v + ow * sw : sw]
