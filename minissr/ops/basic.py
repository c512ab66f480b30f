"""Arithmetic, element by element, with broadcasting.

Notation in every derivation: L is the final scalar, g = dL/d(output) is what backward receives,
and what it returns for input x is dL/dx = sum over outputs y of g_y dy/dx.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum `grad` over the axes along which `shape` was stretched.

    An input value that was used in m places of the output collects the m gradients.
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    stretched = tuple(
        i + extra for i, n in enumerate(shape) if n == 1 and grad.shape[i + extra] > 1
    )
    return grad.sum(axis=tuple(range(extra)) + stretched).reshape(shape)


class Add(Function):
    """y = a + b with broadcasting.  dL/da = g, dL/db = g, summed over stretched axes."""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save(a.shape, b.shape)
        return a + b

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array]:
        a_shape, b_shape = ctx.saved
        return unbroadcast(g, a_shape), unbroadcast(g, b_shape)


class Subtract(Function):
    """y = a - b with broadcasting.  dL/da = g, dL/db = -g, summed over stretched axes."""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save(a.shape, b.shape)
        return a - b

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array]:
        a_shape, b_shape = ctx.saved
        return unbroadcast(g, a_shape), unbroadcast(-g, b_shape)


class Multiply(Function):
    """y = a b with broadcasting.  dL/da = g b, dL/db = g a, summed over stretched axes."""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        ctx.save(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.saved
        return (
            unbroadcast(g * b, a.shape) if ctx.needs_grad[0] else None,
            unbroadcast(g * a, b.shape) if ctx.needs_grad[1] else None,
        )


class Divide(Function):
    """y = a / b with broadcasting.  dL/da = g / b, dL/db = -g a / b^2 = -g y / b."""

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        y = a / b
        ctx.save(a.shape, b, y)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None]:
        a_shape, b, y = ctx.saved
        return (
            unbroadcast(g / b, a_shape) if ctx.needs_grad[0] else None,
            unbroadcast(-g * y / b, b.shape) if ctx.needs_grad[1] else None,
        )


class Negate(Function):
    """y = -x.  dL/dx = -g."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return -x

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        return -g


class Power(Function):
    """y = x^n for a constant n.  dL/dx = g n x^(n-1)."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, exponent: float) -> Array:
        exponent = float(exponent)  # NumPy's own numbers would make float32 float64
        ctx.save(x, exponent)
        return x**exponent

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        x, exponent = ctx.saved
        if exponent == 0:
            return ctx.xp.zeros_like(x)  # a constant, also at x = 0
        return g * (exponent * x ** (exponent - 1))


class Exp(Function):
    """y = e^x.  dL/dx = g y."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = ctx.xp.exp(x)
        ctx.save(y)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (y,) = ctx.saved
        return g * y


class Log(Function):
    """y = ln x.  dL/dx = g / x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save(x)
        return ctx.xp.log(x)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (x,) = ctx.saved
        return g / x


class Absolute(Function):
    """y = |x|.  dL/dx = g sign(x), and 0 at the kink x = 0 (a subgradient)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save(x)
        return abs(x)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (x,) = ctx.saved
        return g * ctx.xp.sign(x)


class Clip(Function):
    """y = min(max(x, low), high).  dL/dx = g strictly inside (low, high), else 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, low: float | None, high: float | None) -> Array:
        low = -math.inf if low is None else low
        high = math.inf if high is None else high
        ctx.save((x > low) & (x < high))
        # minimum(maximum()) and not clip(): defined, as `high`, when low > high.
        return ctx.xp.minimum(ctx.xp.maximum(x, x.dtype.type(low)), x.dtype.type(high))

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (inside,) = ctx.saved
        return g * inside


def add(a: Any, b: Any) -> Tensor:
    """a + b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor (...), ndarray or number
        Of shapes that broadcast, at least one a Tensor.

    Returns
    -------
    Tensor (...)
        Of the broadcast shape.
    """
    return Add.apply(a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """a - b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor (...), ndarray or number
        Of shapes that broadcast, at least one a Tensor.

    Returns
    -------
    Tensor (...)
        Of the broadcast shape.
    """
    return Subtract.apply(a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """a * b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor (...), ndarray or number
        Of shapes that broadcast, at least one a Tensor.

    Returns
    -------
    Tensor (...)
        Of the broadcast shape.
    """
    return Multiply.apply(a, b)


def divide(a: Any, b: Any) -> Tensor:
    """a / b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor (...), ndarray or number
        Of shapes that broadcast, at least one a Tensor.

    Returns
    -------
    Tensor (...)
        Of the broadcast shape.
    """
    return Divide.apply(a, b)


def negate(x: Tensor) -> Tensor:
    """-x.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Negate.apply(x)


def power(x: Tensor, exponent: float) -> Tensor:
    """x ** exponent for a constant exponent.

    Parameters
    ----------
    x : Tensor (...)
    exponent : float

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Power.apply(x, exponent=exponent)


def exp(x: Tensor) -> Tensor:
    """e ** x, element by element.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Exp.apply(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm, element by element.

    Parameters
    ----------
    x : Tensor (...)
        Positive; 0 gives -inf and a negative number NaN, as in NumPy.

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Log.apply(x)


def absolute(x: Tensor) -> Tensor:
    """|x|, element by element; the gradient at 0 is 0.

    Parameters
    ----------
    x : Tensor (...)

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Absolute.apply(x)


def clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """x limited to [low, high]; the gradient is 0 at and beyond a limit.

    Parameters
    ----------
    x : Tensor (...)
    low, high : float or None
        None is no limit.

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Clip.apply(x, low=low, high=high)
