"""Activations, softmax and pixels in NumPy: the reference. `ops.activation` derives the slopes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array


def logistic(x: Array) -> Array:
    """1 / (1 + e^-x), written so that only e^-|x| <= 1 is ever computed: nothing overflows."""
    e = np.exp(-abs(x))
    return np.where(x >= 0, x.dtype.type(1), e) / (1 + e)


def at_least_0(x: Array) -> Array:
    return np.maximum(x, x.dtype.type(0))


# Name -> y = f(x); `slope` is the leaky ReLU's below 0.
VALUE: dict[str, Callable[[Array, float], Array]] = {
    "relu": lambda x, slope: at_least_0(x),
    "relu6": lambda x, slope: np.minimum(at_least_0(x), x.dtype.type(6)),
    "leaky_relu": lambda x, slope: x * np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)),
    "tanh": lambda x, slope: np.tanh(x),
    "sigmoid": lambda x, slope: logistic(x),
    "softplus": lambda x, slope: at_least_0(x) + np.log1p(np.exp(-abs(x))),
}
# Name -> f'(x), from x for those that need it and from y for the others.
FROM_X = ("leaky_relu", "softplus")
SLOPE: dict[str, Callable[[Array, float], Array]] = {
    "relu": lambda y, slope: y > 0,  # exactly where x > 0
    "relu6": lambda y, slope: (y > 0) & (y < 6),
    "leaky_relu": lambda x, slope: np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)),
    "tanh": lambda y, slope: 1 - y * y,
    "sigmoid": lambda y, slope: y * (1 - y),
    "softplus": lambda x, slope: logistic(x),
}


@register("activation_forward", "numpy")
def activation_forward(x: Array, name: str, slope: float) -> Array:
    """f(x), element by element; `name` is a key of `VALUE`."""
    return VALUE[name](x, slope)


@register("activation_backward", "numpy")
def activation_backward(g: Array, known: Array, name: str, slope: float) -> Array:
    """g f'(x); `known` is x for the names in `FROM_X`, else y = f(x)."""
    return g * SLOPE[name](known, slope)


@register("softmax_forward", "numpy")
def softmax_forward(x: Array, log: bool) -> Array:
    """softmax, or its logarithm, of each row of `x` (M, S)."""
    shifted = x - x.max(axis=1, keepdims=True)  # e^(x - max) <= 1
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    return shifted - np.log(total) if log else e / total


@register("softmax_backward", "numpy")
def softmax_backward(g: Array, y: Array, log: bool) -> Array:
    """The gradient of x (M, S), from `g` and the result `y`."""
    if log:
        return g - np.exp(y) * g.sum(axis=1, keepdims=True)
    return y * (g - (g * y).sum(axis=1, keepdims=True))


@register("pixels_to_float", "numpy")
def pixels_to_float(pixels: Array, dtype: np.dtype) -> Array:
    """uint8 as float32 or float64."""
    return pixels.astype(dtype)
