"""Lesson 19, one answer to each exercise."""

import numpy as np


def circular_error(a, b):
    """The difference within one turn, or what is left of the turn, whichever is less."""
    apart = (a - b) % 360
    return np.minimum(apart, 360 - apart)


def bounded(p, eta, delta, stages, low, high):
    """Equation 7 with V = high - low, and the lower end added."""
    total, width, first = low, high - low, 0
    for k, s in enumerate(stages):
        width = width / (s * (1 + delta[:, k]))  # (N,)
        bins = slice(first, first + s)
        total = total + width * (p[:, bins] * (np.arange(s) + eta[:, bins])).sum(axis=1)
        first += s
    return total


def mean_direction(degrees):
    """Add the cosines, add the sines, and look where the sum points."""
    a = np.deg2rad(degrees)
    return float(np.rad2deg(np.arctan2(np.sin(a).sum(), np.cos(a).sum())) % 360)


def circular_loss(a, b):
    """One minus the cosine of the angle between them: half the squared distance on the circle."""
    return 1 - np.cos(np.deg2rad(a - b))
