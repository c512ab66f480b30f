"""Pointwise activations, softmax and dropout.

As in every derivation of this package, g = dL/dy is what backward receives. A pointwise y = f(x)
has dL/dx = g f'(x); only what f'(x) needs is saved, and most of these f' can be written in terms
of y itself, which the next op keeps alive anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minissr.autograd.function import Array, Context, Function
from minissr.kernels.backend import array_module
from minissr.ops.arrange import checked_axis

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


class Relu(Function):
    """y = max(x, 0).  dL/dx = g where x > 0, else 0; at the kink ReLU'(0) = 0."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.kernel("activation_forward")(x, "relu", 0.0)
        ctx.save(y)  # y > 0 exactly where x > 0
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (known,) = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "relu", 0.0)


class Relu6(Function):
    """y = min(max(x, 0), 6).  dL/dx = g where 0 < x < 6, else 0; 0 at both kinks."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.kernel("activation_forward")(x, "relu6", 0.0)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (known,) = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "relu6", 0.0)


class LeakyRelu(Function):
    """y = x where x > 0, else slope x.  dL/dx = g there, else slope g; `slope` at the kink."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, slope: float) -> Array:
        y = ctx.kernel("activation_forward")(x, "leaky_relu", slope)
        ctx.save(x, slope)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        known, slope = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "leaky_relu", slope)


class Tanh(Function):
    """y = tanh x = (e^x - e^-x) / (e^x + e^-x).

    Quotient rule, with s = e^x - e^-x (so s' = c) and c = e^x + e^-x (so c' = s):

        y' = (s' c - s c') / c^2 = (c^2 - s^2) / c^2 = 1 - y^2        dL/dx = g (1 - y^2)
    """

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.kernel("activation_forward")(x, "tanh", 0.0)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (known,) = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "tanh", 0.0)


def logistic(x: Array, xp: Any) -> Array:
    """1 / (1 + e^-x), written so that only e^-|x| <= 1 is ever computed: nothing overflows."""
    e = xp.exp(-abs(x))
    return xp.where(x >= 0, x.dtype.type(1), e) / (1 + e)


class Sigmoid(Function):
    """y = 1 / (1 + e^-x).

    y' = e^-x / (1 + e^-x)^2 = y (1 - y), because 1 - y = e^-x / (1 + e^-x).  dL/dx = g y (1 - y).
    """

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.kernel("activation_forward")(x, "sigmoid", 0.0)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (known,) = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "sigmoid", 0.0)


class Softplus(Function):
    """y = ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|); the second form can't overflow.

    y' = e^x / (1 + e^x) = 1 / (1 + e^-x), the logistic function.  dL/dx = g logistic(x).
    """

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.kernel("activation_forward")(x, "softplus", 0.0)
        ctx.save(x)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (known,) = ctx.saved
        return ctx.kernel("activation_backward")(g, known, "softplus", 0.0)


def as_rows(x: Array, axis: int) -> tuple[Array, tuple[int, ...]]:
    """`x` as rows (M, S) along `axis`, and its shape with that axis last."""
    moved = array_module(x).moveaxis(x, axis, -1)
    return moved.reshape(-1, x.shape[axis]), moved.shape


def from_rows(rows: Array, shape: tuple[int, ...], axis: int) -> Array:
    """What `as_rows` made rows of; of C order, as every result."""
    xp = array_module(rows)
    return xp.ascontiguousarray(xp.moveaxis(rows.reshape(shape), -1, axis))


def log_softmax_of(x: Array, axis: int, xp: Any) -> Array:
    """x - ln sum e^x along `axis`, with the maximum taken out first: e^(x - max) <= 1."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))


class Softmax(Function):
    """y_i = e^x_i / sum_j e^x_j along one axis; subtracting max x from all x changes nothing.

    dy_j/dx_i = y_j (delta_ij - y_i): the numerator gives y_j delta_ij, the denominator -y_j y_i.

        dL/dx_i = sum_j g_j y_j (delta_ij - y_i) = y_i (g_i - sum_j g_j y_j)
    """

    @staticmethod
    def forward(ctx: Context, x: Array, *, axis: int) -> Array:
        axis = checked_axis("softmax", axis, x.ndim)
        rows, shape = as_rows(x, axis)
        y = ctx.kernel("softmax_forward")(rows, False)
        ctx.save(y, axis)
        return from_rows(y, shape, axis)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        y, axis = ctx.saved
        rows, shape = as_rows(g, axis)
        return from_rows(ctx.kernel("softmax_backward")(rows, y, False), shape, axis)


class LogSoftmax(Function):
    """y_i = x_i - ln sum_j e^x_j along one axis.

    dy_j/dx_i = delta_ij - e^y_i, since d(ln sum e^x)/dx_i = e^x_i / sum e^x = e^y_i.

        dL/dx_i = sum_j g_j (delta_ij - e^y_i) = g_i - e^y_i sum_j g_j
    """

    @staticmethod
    def forward(ctx: Context, x: Array, *, axis: int) -> Array:
        axis = checked_axis("log_softmax", axis, x.ndim)
        rows, shape = as_rows(x, axis)
        y = ctx.kernel("softmax_forward")(rows, True)
        ctx.save(y, axis)
        return from_rows(y, shape, axis)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        y, axis = ctx.saved
        rows, shape = as_rows(g, axis)
        return from_rows(ctx.kernel("softmax_backward")(rows, y, True), shape, axis)


def check_dropout(rate: float, rng: Any) -> None:
    """Refuse, in one sentence, what no mask can be drawn with."""
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout rate {rate}; expected 0 (keep all) to 1 (drop all)")
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"dropout needs rng=np.random.default_rng(seed), got {rng!r}")


def dropout_mask(
    shape: tuple[int, ...], dtype: np.dtype, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """0 with probability `rate`, else 1 / (1 - rate); drawn in float32 whatever the dtype."""
    kept = rng.random(shape, dtype=np.float32) >= rate
    return kept * dtype.type(1 / (1 - rate) if rate < 1 else 0.0)


class Dropout(Function):
    """y = m x, where m is 0 with probability `rate` and 1 / (1 - rate) otherwise.

    The mean of m is 1, so evaluation needs no scaling. m is a constant: dL/dx = g m.

    The mask is drawn in float32 on the CPU whatever the dtype and backend of x, so one state of
    `rng` means one mask everywhere. Rate 0 draws nothing and passes x on; rate 1 gives zeros.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, *, rate: float, rng: np.random.Generator) -> Array:
        check_dropout(rate, rng)
        if rate == 0:
            ctx.save(None)
            return x
        mask = ctx.xp.asarray(dropout_mask(x.shape, x.dtype, rate, rng))
        ctx.save(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (mask,) = ctx.saved
        return g if mask is None else g * mask


def relu(x: Tensor) -> Tensor:
    """max(x, 0), element by element; the gradient at 0 is 0.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.

    Examples
    --------
    >>> from minissr import Tensor
    >>> relu(Tensor([-1.0, 0.0, 2.0])).data
    array([0., 0., 2.], dtype=float32)
    """
    return Relu.apply(x)


def relu6(x: Tensor) -> Tensor:
    """min(max(x, 0), 6), element by element; the gradient at 0 and at 6 is 0.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Relu6.apply(x)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """x where x > 0 and `slope` x elsewhere; the gradient at 0 is `slope`.

    Parameters
    ----------
    x : Tensor (...)
    slope : float

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return LeakyRelu.apply(x, slope=slope)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, element by element.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`, between -1 and 1; exactly ±1 in float32 from about |x| = 9 on.
    """
    return Tanh.apply(x)


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function 1 / (1 + e^-x), element by element.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`, between 0 and 1.
    """
    return Sigmoid.apply(x)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x), a smooth ReLU, element by element.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`, positive.
    """
    return Softplus.apply(x)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / sum e^x along `axis`: positive numbers that add up to 1.

    Parameters
    ----------
    x : Tensor (...)
    axis : int

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.

    Examples
    --------
    >>> from minissr import Tensor
    >>> softmax(Tensor([[0.0, 0.0], [1000.0, 0.0]])).data
    array([[0.5, 0.5],
           [1. , 0. ]], dtype=float32)
    """
    return Softmax.apply(x, axis=axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """ln softmax(x), without the underflow of taking the logarithm afterwards.

    Parameters
    ----------
    x : Tensor (...)
    axis : int

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return LogSoftmax.apply(x, axis=axis)


def dropout(x: Tensor, rate: float, rng: np.random.Generator) -> Tensor:
    """Set a share `rate` of the elements to 0 and scale the rest by 1 / (1 - rate).

    For training only; in evaluation leave the op out.

    Parameters
    ----------
    x : Tensor (...)
    rate : float
        Probability of an element to be dropped, 0 to 1.
    rng : numpy.random.Generator
        Draws the mask; its state moves on unless `rate` is 0.

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Dropout.apply(x, rate=rate, rng=rng)
