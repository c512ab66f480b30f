"""Mean errors on the GPU, a launch each way (loss.cu)."""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.loss.numpy_ref import KINDS

Array = Any  # cupy.ndarray

LOSS = cuda.Program(__file__, "loss.cu")
THREADS = 256


@register("error_forward", "cupy")
def error_forward(x: Array, target: Array, kind: str) -> Array:
    """The mean error (), of the dtype of `x`; `kind` is "absolute" or "squared"."""
    loss = cuda.xp().empty((), x.dtype)
    arguments = (x, target, loss, x.size, KINDS.index(kind))
    LOSS.launch("error_forward", x.dtype, 1, THREADS, *arguments)
    return loss


@register("error_backward", "cupy")
def error_backward(g: Array, x: Array, target: Array, kind: str) -> Array:
    """The gradient, of the shape of `x`, from `g` ()."""
    gx = cuda.xp().empty(x.shape, x.dtype)
    arguments = (g, x, target, gx, x.size, KINDS.index(kind))
    LOSS.launch("error_backward", x.dtype, cuda.blocks(x.size, THREADS), THREADS, *arguments)
    return gx
