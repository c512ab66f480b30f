"""Two-dimensional convolution with any kernel, stride and padding, dense, grouped or depthwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minissr.autograd.function import Array, Context, Function
from minissr.ops.geometry import PaddingLike, SizeLike, as_padding, as_pair, check_windows

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


class Conv2d(Function):
    """y = x * w + b, the cross-correlation that deep learning calls convolution.

    x (N, H, W, C), w (KH, KW, C / G, CO), b (CO,) or None, y (N, OH, OW, CO). With x~ the image
    padded by zeros, stride (a, c), G groups of m = C / G input and o = CO / G output channels, and
    group r = q div o of output channel q:

        y[n,i,j,q] = b[q] + sum_{u,v,k} x~[n, i a + u, j c + v, r m + k] w[u,v,k,q]

    The image is linear in x, in w and in b, so dL/d(one of them) collects g[n,i,j,q] times what
    it was multiplied by, over all the sums in which it stands:

        dL/db[q]       = sum_{n,i,j} g[n,i,j,q]
        dL/dw[u,v,k,q] = sum_{n,i,j} g[n,i,j,q] x~[n, i a + u, j c + v, r m + k]

    and, a pixel (h, w) of x~ standing in the sum of y[n,i,j,q] if h = i a + u and w = j c + v for
    some kernel position (u, v),

        dL/dx~[n,h,w,r m + k] = sum over these i, j, u, v and over the q of group r
                                of g[n,i,j,q] w[u,v,k,q]

    dL/dx is dL/dx~ without the border, whose pixels are constants. G = 1 is the usual
    convolution, G = C the depthwise one, and KH = KW = 1 a dense layer at every pixel.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        b: Array | None,
        *,
        stride: SizeLike,
        padding: PaddingLike,
        groups: int,
    ) -> Array:
        check_shapes(x, w, b, groups)
        size, image = w.shape[:2], x.shape[1:3]
        stride = as_pair("conv2d", "stride", stride)
        padding = as_padding("conv2d", padding, image, size, stride)
        check_windows("conv2d", image, size, stride, padding)
        ctx.save(x, w, (stride, padding, groups))
        return ctx.kernel("conv2d_forward")(x, w, b, stride, padding, groups)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w, geometry = ctx.saved
        gx = gw = gb = None
        if ctx.needs_grad[0]:
            gx = ctx.kernel("conv2d_input_grad")(g, w, x.shape, *geometry)
        if ctx.needs_grad[1]:
            gw = ctx.kernel("conv2d_weight_grad")(x, g, w.shape, *geometry)
        if ctx.needs_grad[2]:
            # In float64: NumPy adds the rows of a map one by one, and there are many.
            gb = g.sum(axis=(0, 1, 2), dtype=np.float64).astype(g.dtype)
        return gx, gw, gb


def check_shapes(x: Array, w: Array, b: Array | None, groups: int) -> None:
    """Refuse shapes that don't belong together."""
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(
            f"conv2d of x {x.shape} and w {w.shape}; expected (N, H, W, C) and (KH, KW, C, CO)"
        )
    c, co = x.shape[3], w.shape[3]
    if groups < 1 or c % groups or co % groups:
        raise ValueError(
            f"conv2d groups {groups}; expected a divisor of the {c} input and {co} output channels"
        )
    if w.shape[2] * groups != c:
        raise ValueError(
            f"conv2d weights {w.shape} read {w.shape[2]} channels in each of {groups} groups, "
            f"but x {x.shape} has {c}; expected {c // groups} in the third place"
        )
    if b is not None and b.shape != (co,):
        raise ValueError(f"conv2d bias of shape {b.shape}; expected {(co,)}")


def conv2d(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    stride: SizeLike = 1,
    padding: PaddingLike = "valid",
    groups: int = 1,
) -> Tensor:
    """Slide the kernels `w` over the images `x`.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
    w : Tensor (KH, KW, C / groups, CO)
    b : Tensor (CO,), optional
    stride : int or (vertical, horizontal)
    padding : "valid", "same", int, (vertical, horizontal) or (top, bottom, left, right)
        Pixels of zeros around the image. "same" gives ceil(H / stride) rows, as in TensorFlow:
        an odd number of rows to add puts the odd one at the bottom, and so for columns.
    groups : int
        `groups=C` is the depthwise convolution: w is (KH, KW, 1, CO).

    Returns
    -------
    Tensor (N, OH, OW, CO)
        OH = (H + top + bottom - KH) // vertical stride + 1, OW likewise.

    Raises
    ------
    ValueError
        If the shapes don't fit each other or no window fits the image.

    Examples
    --------
    >>> import numpy as np
    >>> from minissr import Tensor
    >>> x, w = Tensor(np.ones((1, 3, 3, 1))), Tensor(np.ones((2, 2, 1, 1)))
    >>> conv2d(x, w).data[0, :, :, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    return Conv2d.apply(x, w, b, stride=stride, padding=padding, groups=groups)
