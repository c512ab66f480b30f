"""Lesson 03, answered."""

import numpy as np


def numeric_gradient(f, x, h):
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        gradient[place] = (f(up) - f(down)) / (2 * h)
    return gradient


def directional(f, x, u, h):
    unit = u / np.linalg.norm(u)
    return (f(x + h * unit) - f(x - h * unit)) / (2 * h)


def complex_step(f, x):
    # Nothing is subtracted, so nothing cancels: the step may be far below any rounding.
    return f(x + 1e-30j).imag / 1e-30


liar = "centred"  # it took the mean of each row, and its backward that of each column


def has_kink(f, x, h):
    def central(h):
        return (f(x + h) - f(x - h)) / (2 * h)

    def bend(h):
        return (f(x + h) - 2 * f(x) + f(x - h)) / h

    # A kink at x keeps the bend, which a smooth f halves; one beside x moves the slope, or both.
    return abs(bend(h) - 2 * bend(h / 2)) > 0.01 or abs(central(h) - central(h / 2)) > 0.01
