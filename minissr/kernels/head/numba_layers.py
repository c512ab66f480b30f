"""The small layers of a stage for one image, for the head's kernels and for inference's.

A layer's numbers lie in flat arrays and are found by their place: w (inputs, units) and behind it
b (units,) from `at` on. Activations have the numbers of `composed.ACTIVATIONS`.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.head.composed import ACTIVATIONS, LEAK
from minissr.kernels.jit import njit
from minissr.kernels.simd import LANES, fma, load, multiply, sum_lanes, zeros

_, RELU, LEAKY_RELU, RELU6, SOFTPLUS, TANH, SOFTMAX = range(len(ACTIVATIONS))
SLOPE = np.float32(LEAK)
ZERO, ONE, SIX = np.float32(0), np.float32(1), np.float32(6)


@njit
def activated(h, code):
    """f(h) of any activation but softmax."""
    if code == RELU:
        return max(h, ZERO)
    if code == LEAKY_RELU:
        return h if h > ZERO else SLOPE * h
    if code == RELU6:
        return min(max(h, ZERO), SIX)
    if code == SOFTPLUS:
        return max(h, ZERO) + np.log1p(np.exp(-abs(h)))
    if code == TANH:
        return np.tanh(h)
    return h


@njit
def slope(y, code):
    """f'(h) of any activation but softmax, from y = f(h)."""
    if code == RELU:
        return ONE if y > ZERO else ZERO
    if code == LEAKY_RELU:
        return ONE if y > ZERO else SLOPE
    if code == RELU6:
        return ONE if ZERO < y < SIX else ZERO
    if code == SOFTPLUS:
        return -np.expm1(-y)
    if code == TANH:
        return ONE - y * y
    return ONE


@njit
def activate_all(values, at, count, code):
    """Put `count` numbers through an activation, in place."""
    if code == SOFTMAX:
        top = values[at]
        for j in range(1, count):
            top = max(top, values[at + j])
        total = ZERO
        for j in range(count):
            values[at + j] = np.exp(values[at + j] - top)
            total += values[at + j]
        for j in range(count):
            values[at + j] /= total
    else:
        for j in range(count):
            values[at + j] = activated(values[at + j], code)


@njit
def go_through_all(g, at, y, y_at, count, code):
    """dL/dh of `count` numbers in place of g = dL/dy, with y = f(h)."""
    if code == SOFTMAX:
        total = ZERO
        for j in range(count):
            total += g[at + j] * y[y_at + j]
        for j in range(count):
            g[at + j] = y[y_at + j] * (g[at + j] - total)
    else:
        for j in range(count):
            g[at + j] *= slope(y[y_at + j], code)


@njit
def small_layer(numbers, at, inputs, units, values, source, target):
    """values[target ...] (units,) = values[source ...] (inputs,) @ w + b.

    Returns the place after b.
    """
    bias = at + inputs * units
    for j in range(units):
        h = numbers[bias + j]
        for i in range(inputs):
            h += values[source + i] * numbers[at + i * units + j]
        values[target + j] = h
    return bias + units


@njit
def small_layer_gradients(
    numbers, at, inputs, units, values, source, h, h_at, grads, grads_at, gx, gx_at
):
    """Add to `grads` those of w and b, and to `gx` that of the input, from dL/dh (units,)."""
    for i in range(inputs):
        total = ZERO
        for j in range(units):
            total += h[h_at + j] * numbers[at + i * units + j]
            grads[grads_at + i * units + j] += values[source + i] * h[h_at + j]
        gx[gx_at + i] += total
    for j in range(units):
        grads[grads_at + inputs * units + j] += h[h_at + j]


@njit
def dot(a, a_at, b, b_at, count):
    """Sum of `count` products, a multiple of LANES."""
    total = zeros()
    for i in range(0, count, LANES):
        total = fma(load(a, a_at + i), load(b, b_at + i), total)
    return sum_lanes(total)


@njit
def dot_of_product(a, a_at, b, b_at, c, c_at, count):
    """Sum of `count` products of three, a multiple of LANES."""
    total = zeros()
    for i in range(0, count, LANES):
        total = fma(multiply(load(a, a_at + i), load(b, b_at + i)), load(c, c_at + i), total)
    return sum_lanes(total)
