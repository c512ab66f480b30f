"""The fully connected layer in NumPy: the reference. y = x w + b; `ops.linear` derives the rest."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.geometry import Array


@register("dense_forward", "numpy")
def dense_forward(x: Array, w: Array, b: Array | None) -> Array:
    """x (N, I), w (I, O), b (O,) or None -> (N, O)."""
    y = x @ w
    return y if b is None else y + b


@register("dense_input_grad", "numpy")
def dense_input_grad(g: Array, w: Array) -> Array:
    """g (N, O) -> (N, I)."""
    return g @ w.T


@register("dense_weight_grad", "numpy")
def dense_weight_grad(x: Array, g: Array) -> Array:
    """x (N, I), g (N, O) -> (I, O)."""
    return x.T @ g


@register("dense_bias_grad", "numpy")
def dense_bias_grad(g: Array) -> Array:
    """g (N, O) -> (O,)."""
    return g.sum(axis=0)
