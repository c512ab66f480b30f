"""Lesson 09, one answer to each exercise."""

import math

import numpy as np


def expected_age(p, V):
    """Bin i stands for the age i V/s at which it begins; a product with that row adds them up."""
    s = p.shape[1]
    return p @ (np.arange(s) * V / s)


def dex_backward(g_age, z, V):
    """d age / d z_k = p_k (mu_k - age), and the chain rule multiplies each row by its g_age."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    mu = np.arange(z.shape[1]) * V / z.shape[1]
    age = p @ mu
    return g_age[:, None] * p * (mu - age[:, None])


def two_neighbours(age, V, s):
    """In units of bins the age is a whole part, the lower bin, and a rest, the upper one's share.

    At the very top there is no bin above: there the lower one is the last but one and the rest 1.
    """
    position = age * s / V
    lower = min(int(position), max(s - 2, 0))
    p = np.zeros(s)
    p[lower] = 1 - (position - lower)
    if lower + 1 < s:
        p[lower + 1] = position - lower
    return p


def bins_needed(V, worst):
    """From the middle one is at most half a bin off: V / (2 s) <= worst, s as small as can be."""
    return math.ceil(V / (2 * worst))


def spread(p, V):
    """The standard deviation: the root of the mean squared distance from the expected age."""
    s = p.shape[1]
    mu = np.arange(s) * V / s
    age = p @ mu
    return np.sqrt((p * (mu - age[:, None]) ** 2).sum(axis=1))
