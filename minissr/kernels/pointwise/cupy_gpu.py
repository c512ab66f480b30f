"""Activations, softmax and pixels on the GPU, a launch each (pointwise.cu)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels import cuda, register

Array = Any  # cupy.ndarray

POINTWISE = cuda.Program(__file__, "pointwise.cu")
THREADS, ROWS = 256, 128  # of a block: numbers, rows
CODES = {"relu": 0, "relu6": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4, "softplus": 5}


def each(kernel: str, inputs: tuple[Array, ...], like: Array, *settings: Any) -> Array:
    """Launch a kernel of one thread a number; a new array of the shape of `like`."""
    y = cuda.xp().empty(like.shape, like.dtype)
    arguments = (*inputs, y, y.size, *settings)
    POINTWISE.launch(kernel, y.dtype, cuda.blocks(y.size, THREADS), THREADS, *arguments)
    return y


@register("activation_forward", "cupy")
def activation_forward(x: Array, name: str, slope: float) -> Array:
    """f(x), element by element."""
    return each("activation_forward", (x,), x, CODES[name], slope)


@register("activation_backward", "cupy")
def activation_backward(g: Array, known: Array, name: str, slope: float) -> Array:
    """g f'(x); `known` is x or y, as the reference has it."""
    return each("activation_backward", (g, known), g, CODES[name], slope)


@register("softmax_forward", "cupy")
def softmax_forward(x: Array, log: bool) -> Array:
    """softmax, or its logarithm, of each row of `x` (M, S)."""
    y = cuda.xp().empty(x.shape, x.dtype)
    arguments = (x, y, *x.shape, log)
    POINTWISE.launch("softmax_forward", x.dtype, cuda.blocks(len(x), ROWS), ROWS, *arguments)
    return y


@register("softmax_backward", "cupy")
def softmax_backward(g: Array, y: Array, log: bool) -> Array:
    """The gradient of x (M, S), from `g` and the result `y`."""
    gx = cuda.xp().empty(y.shape, y.dtype)
    arguments = (g, y, gx, *y.shape, log)
    POINTWISE.launch("softmax_backward", y.dtype, cuda.blocks(len(y), ROWS), ROWS, *arguments)
    return gx


@register("pixels_to_float", "cupy")
def pixels_to_float(pixels: Array, dtype: np.dtype) -> Array:
    """uint8 as float32 or float64."""
    x = cuda.xp().empty(pixels.shape, dtype)
    blocks = cuda.blocks(x.size, THREADS)
    POINTWISE.launch("pixels_to_float", dtype, blocks, THREADS, pixels, x, x.size)
    return x
