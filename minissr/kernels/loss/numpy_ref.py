"""The mean over all n elements of |x - t| or (x - t)^2, and its gradient: the reference.

d|x - t|/dx = sign(x - t), 0 where they are equal        d(x - t)^2/dx = 2 (x - t)
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array

KINDS = ("absolute", "squared")


@register("error_forward", "numpy")
def error_forward(x: Array, target: Array, kind: str) -> Array:
    """The mean error (), of the dtype of `x`; `kind` is "absolute" or "squared"."""
    error = x - target
    return np.asarray((abs(error) if kind == "absolute" else error * error).mean())


@register("error_backward", "numpy")
def error_backward(g: Array, x: Array, target: Array, kind: str) -> Array:
    """The gradient, of the shape of `x`, from `g` ()."""
    error = x - target
    if kind == "absolute":
        return np.sign(error) * (g / x.size)
    return error * (g * 2 / x.size)
