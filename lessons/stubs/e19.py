"""Your answers to lesson 19. Check one with `check("19.1")` in the notebook, or submit them all:

python -m lessons.check 19
"""

import numpy as np  # noqa: F401


def circular_error(a, b):
    """19.1: directions (N,) in degrees -> how far they are apart, the shorter way, (N,)."""
    return None


def bounded(p, eta, delta, stages, low, high):
    """19.2: p, eta (N, s_1 + ... + s_K), delta (N, K) -> numbers (N,) in the unit of low, high."""
    return None


def mean_direction(degrees):
    """19.3: directions (N,) -> the direction of their sum as unit vectors, 0 to below 360."""
    return None


def circular_loss(a, b):
    """19.4: directions (N,) in degrees -> losses (N,), smooth, 0 where they agree."""
    return None
