"""Reductions, and the ops that only move numbers or change how they are stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minissr.autograd.function import Array, Context, Function
from minissr.kernels.backend import array_module

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor

Axis = int | tuple[int, ...] | None


def checked_axis(op: str, axis: int, ndim: int) -> int:
    """`axis` counted from 0; a ValueError if there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"{op} over axis {axis} of {ndim}; expected {-ndim} to {ndim - 1}")
    return axis % ndim


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
        axes = axis if isinstance(axis, tuple) else (axis,)
        grad = xp.expand_dims(grad, tuple(a % len(shape) for a in axes))
    return xp.broadcast_to(grad, shape).copy()  # a broadcast view can't be written to


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
        axes = tuple(range(x.ndim))[::-1] if axes is None else axes
        axes = tuple(checked_axis("transpose", axis, x.ndim) for axis in axes)
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
        axis = checked_axis("concat", axis, parts[0].ndim)
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
        if dtype.kind != "f":
            raise TypeError(
                f"astype({dtype}): expected a float dtype; whole numbers have no gradient"
            )
        ctx.save(x.dtype)
        return ctx.kernel("pixels_to_float")(x, dtype) if x.dtype == np.uint8 else x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (dtype,) = ctx.saved
        return g.astype(dtype)


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`, or over everything.

    Parameters
    ----------
    x : Tensor (...)
    axis : int, tuple of int or None
    keepdims : bool
        Whether summed axes stay, with length 1.

    Returns
    -------
    Tensor
        Of the shape of `x` without the summed axes.
    """
    return Sum.apply(x, axis=axis, keepdims=keepdims)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over `axis`, or over everything.

    Parameters
    ----------
    x : Tensor (...)
    axis : int, tuple of int or None
    keepdims : bool
        Whether averaged axes stay, with length 1.

    Returns
    -------
    Tensor
        Of the shape of `x` without the averaged axes.
    """
    return Mean.apply(x, axis=axis, keepdims=keepdims)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same numbers in C order under another shape.

    Parameters
    ----------
    x : Tensor (...)
    shape : tuple of int
        One length may be -1: what is left.

    Returns
    -------
    Tensor (shape)
    """
    return Reshape.apply(x, shape=shape)


def flatten(x: Tensor, axis: int = 1) -> Tensor:
    """A matrix of the same numbers; one row an image, in H, W, C order for a feature map.

    Parameters
    ----------
    x : Tensor (...)
    axis : int
        The first of the axes that become columns; those before it become rows.

    Returns
    -------
    Tensor (product of the axes before `axis`, product of the rest)
    """
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"flatten from axis {axis} of {x.ndim}; expected {-x.ndim} to {x.ndim}")
    rows, columns = x.shape[:axis], x.shape[axis:]
    return Reshape.apply(x, shape=(math.prod(rows), math.prod(columns)))


def transpose(x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """The axes in another order; reversed if none is given.

    Parameters
    ----------
    x : Tensor (...)
    axes : tuple of int, optional
        `axes[i]` is the axis of `x` that becomes axis i.

    Returns
    -------
    Tensor (...)
    """
    return Transpose.apply(x, axes=axes)


def index(x: Tensor, key: Any) -> Tensor:
    """x[key], for every key NumPy takes.

    Parameters
    ----------
    x : Tensor (...)
    key : int, slice, ndarray, None, ..., or a tuple of them

    Returns
    -------
    Tensor
        Of the shape that NumPy gives `x[key]`.
    """
    return Index.apply(x, key=key)


def concat(parts: Sequence[Any], axis: int = -1) -> Tensor:
    """Tensors one after another along `axis`.

    Parameters
    ----------
    parts : sequence of Tensor
        Of equal shapes but for `axis`.
    axis : int

    Returns
    -------
    Tensor
        As long along `axis` as all parts together.
    """
    return Concat.apply(*parts, axis=axis)


def cast(x: Tensor, dtype: Any) -> Tensor:
    """The same numbers as another float dtype.

    Parameters
    ----------
    x : Tensor (...)
        Floats or pixels (uint8).
    dtype : dtype or str

    Returns
    -------
    Tensor (...)
        Of the shape of `x`.
    """
    return Cast.apply(x, dtype=np.dtype(dtype))
