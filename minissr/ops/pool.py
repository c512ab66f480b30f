"""Maximum and average pooling over windows of any size, stride and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minissr.autograd.function import Array, Context, Function
from minissr.kernels.geometry import Padding, Size
from minissr.ops.geometry import PaddingLike, SizeLike, as_padding, as_pair, check_windows

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


def window_geometry(
    op: str, x: Array, size: SizeLike, stride: SizeLike | None, padding: PaddingLike
) -> tuple[Size, Size, Padding]:
    """Size, stride and padding for the kernels; refuses a window that could miss the image."""
    if x.ndim != 4:
        raise ValueError(f"{op} of x {x.shape}; expected (N, H, W, C)")
    image = x.shape[1:3]
    size = as_pair(op, "size", size)
    stride = size if stride is None else as_pair(op, "stride", stride)
    sides = as_padding(op, padding, image, size, stride)
    if max(sides[:2]) >= size[0] or max(sides[2:]) >= size[1]:
        raise ValueError(
            f"{op} padding {sides} (top, bottom, left, right) with window {size}; "
            "each must be smaller than the window, or a window could hold nothing but padding"
        )
    check_windows(op, image, size, stride, sides)
    return size, stride, sides


class MaxPool(Function):
    """y[n,i,j,c] = the maximum of x[n,h,w,c] over the pixels (h, w) of window (i, j).

    Around an x without ties the maximum is one of its pixels, y = x[h*, w*], so

        dL/dx[n,h,w,c] = sum of g[n,i,j,c] over the windows (i, j) whose maximum is (h, w)

    and a pixel in several windows may win several. Among equal maxima the first in the window's
    row-major order takes the whole gradient: one of the subgradients. Padding never wins.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        *,
        size: SizeLike,
        stride: SizeLike | None,
        padding: PaddingLike,
    ) -> Array:
        geometry = window_geometry("max_pool", x, size, stride, padding)
        y, argmax = ctx.kernel("max_pool_forward")(x, *geometry)
        ctx.save(argmax, x.shape, geometry)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        argmax, x_shape, geometry = ctx.saved
        return ctx.kernel("max_pool_backward")(g, argmax, x_shape, *geometry)


class AvgPool(Function):
    """y[n,i,j,c] = (1 / m) times the sum of x[n,h,w,c] over the pixels (h, w) of window (i, j).

    m is the number of the window's pixels that lie on the image, or with `count_include_pad` all
    KH KW. Every pixel enters with weight 1 / m:

        dL/dx[n,h,w,c] = sum of g[n,i,j,c] / m[i,j] over the windows (i, j) that contain (h, w)

    Nothing of x is saved: its shape is enough.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        *,
        size: SizeLike,
        stride: SizeLike | None,
        padding: PaddingLike,
        count_include_pad: bool,
    ) -> Array:
        geometry = (*window_geometry("avg_pool", x, size, stride, padding), count_include_pad)
        ctx.save(x.shape, geometry)
        return ctx.kernel("avg_pool_forward")(x, *geometry)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        x_shape, geometry = ctx.saved
        return ctx.kernel("avg_pool_backward")(g, x_shape, *geometry)


class GlobalAvgPool(Function):
    """y[n,c] = the mean of x[n,h,w,c] over all H W pixels.  dL/dx[n,h,w,c] = g[n,c] / (H W)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        if x.ndim != 4 or 0 in x.shape[1:3]:
            raise ValueError(f"global_avg_pool of x {x.shape}; expected (N, H, W, C), H and W >= 1")
        ctx.save(x.shape)
        return x.mean(axis=(1, 2))

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (x_shape,) = ctx.saved
        share = g / g.dtype.type(x_shape[1] * x_shape[2])  # (N, C)
        return ctx.xp.broadcast_to(share[:, None, None, :], x_shape).copy()


def max_pool(
    x: Tensor,
    size: SizeLike = 2,
    stride: SizeLike | None = None,
    padding: PaddingLike = "valid",
) -> Tensor:
    """The maximum of each window.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
    size : int or (KH, KW)
    stride : int or (vertical, horizontal), optional
        The window's size if left out.
    padding : "valid", "same", "same_lower", int, (vertical, horizontal) or four sides
        Pixels around the image, which never are the maximum; fewer than the window's size. See
        `conv2d`; the four are top, bottom, left, right.

    Returns
    -------
    Tensor (N, OH, OW, C)
        OH = (H + top + bottom - KH) // vertical stride + 1, OW likewise; rows and columns that
        fill no window are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> from minissr import Tensor
    >>> max_pool(Tensor(np.arange(16.0).reshape(1, 4, 4, 1))).data[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return MaxPool.apply(x, size=size, stride=stride, padding=padding)


def avg_pool(
    x: Tensor,
    size: SizeLike = 2,
    stride: SizeLike | None = None,
    padding: PaddingLike = "valid",
    count_include_pad: bool = False,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
    size : int or (KH, KW)
    stride : int or (vertical, horizontal), optional
        The window's size if left out.
    padding : "valid", "same", "same_lower", int, (vertical, horizontal) or four sides
        Pixels around the image, fewer than the window's size; see `max_pool`.
    count_include_pad : bool
        Whether padding counts as zeros in the mean, or (as in TensorFlow) not at all.

    Returns
    -------
    Tensor (N, OH, OW, C)
        OH = (H + top + bottom - KH) // vertical stride + 1, OW likewise; rows and columns that
        fill no window are dropped.
    """
    return AvgPool.apply(
        x, size=size, stride=stride, padding=padding, count_include_pad=count_include_pad
    )


def global_avg_pool(x: Tensor) -> Tensor:
    """The mean of each channel over the whole map.

    Parameters
    ----------
    x : Tensor (N, H, W, C)

    Returns
    -------
    Tensor (N, C)
    """
    return GlobalAvgPool.apply(x)
