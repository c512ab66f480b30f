"""How weights start: the formulas of Keras, which the authors of SSR-Net used.

A weight's fan-in is the number of inputs of one unit, its fan-out the number of units one input
reaches: (in, out) for a dense layer, KH KW times the channels for a convolution. Drawn in float64
and rounded to float32, so that the same generator gives the same weights in either precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Initializer = Callable[[Sequence[int], np.random.Generator], np.ndarray]

# The standard deviation of a unit normal cut off at two standard deviations.
TRUNCATED_STD = 0.87962566103423978


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan-in, fan-out) of a weight (in, out) or (KH, KW, in, out)."""
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


def glorot_uniform(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan-in + fan-out)) (Glorot & Bengio 2010, Eq. 16)."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def he_normal(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Normal with variance 2 / fan-in (He et al. 2015, Eq. 10), cut off at two deviations.

    Deviations
    ----------
    Keras cuts the normal off and widens it by 1 / 0.8796 so that the variance is still 2 / fan-in;
    so do we. Its versions of 2017, which the authors used, didn't widen.
    """
    normal = rng.standard_normal(shape)
    while (far := np.abs(normal) > 2).any():
        normal[far] = rng.standard_normal(int(far.sum()))
    return (normal * math.sqrt(2 / fans(shape)[0]) / TRUNCATED_STD).astype(np.float32)
