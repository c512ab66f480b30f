"""Your answers to lesson 11. Check one with `check("11.1")` in the notebook, or submit them all:

python -m lessons.check 11
"""

import numpy as np  # noqa: F401


def stretched_widths(delta, stages, V):
    """11.1: delta (N, K) -> width of a bin of each stage, (N, K), in years."""
    return None


def shifted_index(p, eta, stages):
    """11.2: p, eta (N, s_1 + ... + s_K) -> expected, shifted index of each stage, (N, K)."""
    return None


def soft_stagewise(p, eta, delta, stages, V, c_delta, c_eta):
    """11.3: ages (N,) in years; c_delta and c_eta multiply delta and eta."""
    return None


def delta_for(age, index, stages, V):
    """11.4: the first stage's delta with which the indices (K,) make this age, others 0."""
    return None


def another_way(p, eta, delta):
    """11.5: p (6,), eta (6,), delta (2,) -> three other arrays that give the same age."""
    return None
