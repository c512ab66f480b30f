"""Broadcasting arithmetic, matrix product, reductions and the ops that only move numbers.

Notation in every derivation: L is the final scalar, g = dL/d(output) is what backward receives,
and what it returns for input x is dL/dx = sum over outputs y of g_y dy/dx.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minissr.autograd.function import Array, Context, Function
from minissr.kernels.backend import array_module

Axis = int | tuple[int, ...] | None


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


class MatMul(Function):
    """Y = A B over the last two axes, broadcasting the rest.

    y_ij = sum_k a_ik b_kj, hence dL/da_ik = sum_j g_ij b_kj, that is G B^T, and
    dL/db_kj = sum_i a_ik g_ij, that is A^T G. A vector is a matrix with one row (left) or one
    column (right), as in NumPy.
    """

    @staticmethod
    def forward(ctx: Context, a: Array, b: Array) -> Array:
        if a.ndim == 0 or b.ndim == 0:
            raise ValueError("matmul needs at least one axis on each side; use * for a number")
        inner = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
        if inner[0] != inner[1]:
            raise ValueError(f"matmul of {a.shape} and {b.shape}: {inner[0]} is not {inner[1]}")
        ctx.save(a, b)
        return a @ b

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.saved
        row = a[None, :] if a.ndim == 1 else a
        column = b[:, None] if b.ndim == 1 else b
        if b.ndim == 1:
            g = g[..., None]
        if a.ndim == 1:
            g = g[..., None, :]
        ga = gb = None
        if ctx.needs_grad[0]:
            ga = unbroadcast(g @ column.swapaxes(-1, -2), row.shape).reshape(a.shape)
        if ctx.needs_grad[1]:
            gb = unbroadcast(row.swapaxes(-1, -2) @ g, column.shape).reshape(b.shape)
        return ga, gb


class Dense(Function):
    """Y = X W + b, a fully connected layer.

    x (N, I), w (I, O), b (O,) or None, y (N, O). As in MatMul, dL/dX = G W^T and dL/dW = X^T G;
    b is added to every row, so dL/db is the sum of the rows of G.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, w: Array, b: Array | None) -> Array:
        if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
            raise ValueError(f"dense of x {x.shape} and w {w.shape}; expected (N, I) and (I, O)")
        if b is not None and b.shape != w.shape[1:]:
            raise ValueError(f"dense bias of shape {b.shape}; expected {w.shape[1:]}")
        ctx.save(x, w)
        y = x @ w
        return y if b is None else y + b

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w = ctx.saved
        return (
            g @ w.T if ctx.needs_grad[0] else None,
            x.T @ g if ctx.needs_grad[1] else None,
            g.sum(axis=0) if ctx.needs_grad[2] else None,
        )


class Sum(Function):
    """y = sum of x over `axis`.  Every summand gets the gradient of its sum."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        ctx.save(x.shape, axis, keepdims)
        return ctx.xp.asarray(x.sum(axis=axis, keepdims=keepdims))

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        return spread(g, *ctx.saved)


class Mean(Function):
    """y = mean of x over `axis`, of n values.  Every one gets g / n."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        y = ctx.xp.asarray(x.mean(axis=axis, keepdims=keepdims))
        ctx.save(x.shape, axis, keepdims, x.size // max(y.size, 1))
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        *reduced, n = ctx.saved
        return spread(g / g.dtype.type(n), *reduced)


def spread(grad: Array, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Array:
    """Repeat the gradient of a reduction over the axes that were reduced."""
    xp = array_module(grad)
    if axis is not None and not keepdims:
        axes = (axis,) if isinstance(axis, int) else axis
        grad = xp.expand_dims(grad, tuple(a % len(shape) for a in axes))
    return xp.ascontiguousarray(xp.broadcast_to(grad, shape))


class Reshape(Function):
    """The same numbers under another shape; the gradient takes the old shape back."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, shape: tuple[int, ...]) -> Array:
        ctx.save(x.shape)
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (shape,) = ctx.saved
        return g.reshape(shape)


class Transpose(Function):
    """Axes in another order; the gradient's axes go back by the inverse permutation."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, axes: tuple[int, ...] | None) -> Array:
        axes = tuple(range(x.ndim))[::-1] if axes is None else tuple(a % x.ndim for a in axes)
        ctx.save(axes)
        return x.transpose(axes)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (axes,) = ctx.saved
        return g.transpose(np.argsort(axes).tolist())


class Index(Function):
    """y = x[key].  Picked numbers get their gradient, the others 0; picked twice, the sum."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, key: Any) -> Array:
        ctx.save(x.shape, key)
        return ctx.xp.asarray(x[key])

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        shape, key = ctx.saved
        gx = ctx.xp.zeros(shape, dtype=g.dtype)
        if picks_once(key):
            gx[key] = g
        else:
            ctx.xp.add.at(gx, key, g)
        return gx


def picks_once(key: Any) -> bool:
    """Whether an index can name no element twice: integers, slices, None and ellipsis."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is ... or isinstance(part, int | slice) for part in parts)


class Concat(Function):
    """Tensors one after another along `axis`; the gradient is cut at the same places."""

    @staticmethod
    def forward(ctx: Context, *parts: Array, axis: int) -> Array:
        axis %= parts[0].ndim
        ctx.save([part.shape[axis] for part in parts], axis)
        return ctx.xp.concatenate(parts, axis=axis)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, ...]:
        lengths, axis = ctx.saved
        ends = np.cumsum(lengths)[:-1].tolist()
        return tuple(ctx.xp.ascontiguousarray(piece) for piece in ctx.xp.split(g, ends, axis))


class Cast(Function):
    """The same numbers as another float dtype; the gradient is cast back. Takes pixels too."""

    accepts_integers = True

    @staticmethod
    def forward(ctx: Context, x: Array, *, dtype: np.dtype) -> Array:
        ctx.save(x.dtype)
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (dtype,) = ctx.saved
        return g.astype(dtype)


def add(a: Any, b: Any) -> Any:
    """a + b with broadcasting."""
    return Add.apply(a, b)


def subtract(a: Any, b: Any) -> Any:
    """a - b with broadcasting."""
    return Subtract.apply(a, b)


def multiply(a: Any, b: Any) -> Any:
    """a * b, element by element, with broadcasting."""
    return Multiply.apply(a, b)


def divide(a: Any, b: Any) -> Any:
    """a / b, element by element, with broadcasting."""
    return Divide.apply(a, b)


def negate(x: Any) -> Any:
    """-x."""
    return Negate.apply(x)


def power(x: Any, exponent: float) -> Any:
    """x ** exponent for a constant exponent."""
    return Power.apply(x, exponent=exponent)


def exp(x: Any) -> Any:
    """e ** x."""
    return Exp.apply(x)


def log(x: Any) -> Any:
    """The natural logarithm."""
    return Log.apply(x)


def absolute(x: Any) -> Any:
    """|x|; the gradient at 0 is 0."""
    return Absolute.apply(x)


def clip(x: Any, low: float | None, high: float | None) -> Any:
    """x limited to [low, high]; None is no limit. The gradient is 0 at and beyond a limit."""
    return Clip.apply(x, low=low, high=high)


def matmul(a: Any, b: Any) -> Any:
    """The matrix product of the last two axes."""
    return MatMul.apply(a, b)


def dense(x: Any, w: Any, b: Any = None) -> Any:
    """x (N, I) @ w (I, O) + b (O,) -> (N, O)."""
    return Dense.apply(x, w, b)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis`, or over everything."""
    return Sum.apply(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over `axis`, or over everything."""
    return Mean.apply(x, axis=axis, keepdims=keepdims)


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """The same numbers in C order under another shape."""
    return Reshape.apply(x, shape=shape)


def flatten(x: Any) -> Any:
    """(N, ...) -> (N, product of the rest), in H, W, C order for a feature map."""
    return Reshape.apply(x, shape=(x.shape[0], math.prod(x.shape[1:])))


def transpose(x: Any, axes: tuple[int, ...] | None = None) -> Any:
    """The axes in another order; reversed if none is given."""
    return Transpose.apply(x, axes=axes)


def index(x: Any, key: Any) -> Any:
    """x[key]."""
    return Index.apply(x, key=key)


def concat(parts: list[Any], axis: int = -1) -> Any:
    """Tensors one after another along `axis`."""
    return Concat.apply(*parts, axis=axis)


def cast(x: Any, dtype: Any) -> Any:
    """x as another float dtype; x may be pixels (uint8)."""
    return Cast.apply(x, dtype=np.dtype(dtype))
