"""The matrix product and the fully connected layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function
from minissr.ops.basic import unbroadcast

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


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
        return ctx.kernel("dense_forward")(x, w, b)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, w = ctx.saved
        return (
            ctx.kernel("dense_input_grad")(g, w) if ctx.needs_grad[0] else None,
            ctx.kernel("dense_weight_grad")(x, g) if ctx.needs_grad[1] else None,
            ctx.kernel("dense_bias_grad")(g) if ctx.needs_grad[2] else None,
        )


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product of the last two axes.

    Parameters
    ----------
    a : Tensor (..., I, J) or (J,)
    b : Tensor (..., J, O) or (J,)
        The leading axes broadcast; at least one of the two is a Tensor.

    Returns
    -------
    Tensor (..., I, O)
        Without I or O where that side is a vector.
    """
    return MatMul.apply(a, b)


def dense(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """x w + b, a fully connected layer.

    Parameters
    ----------
    x : Tensor (N, I)
    w : Tensor (I, O)
    b : Tensor (O,), optional

    Returns
    -------
    Tensor (N, O)

    Raises
    ------
    ValueError
        If the shapes don't fit each other.
    """
    return Dense.apply(x, w, b)
