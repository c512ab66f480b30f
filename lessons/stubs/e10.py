"""Your answers to lesson 10. Check one with `check("10.1")` in the notebook, or submit them all:

python -m lessons.check 10
"""

import numpy as np  # noqa: F401


def bin_ages(stages, V):
    """10.1: years each bin adds when it is certain, (s_1 + ... + s_K,); the ages are 0 to V."""
    return None


def certain(age, stages, V):
    """10.2: the right bin of each stage as ones and zeros, (s_1 + ... + s_K,); 0 <= age < V."""
    return None


def stagewise_backward(g_age, p, stages, V):
    """10.3: g_age (N,) and p (N, s_1 + ... + s_K) -> the gradient of p."""
    return None


def thriftiest(classes):
    """10.4: the least sum of numbers of bins (each >= 2) whose product is at least `classes`."""
    return None


def soft_digits(age):
    """10.5: an age, 0 to 80 -> p (6,) for stages (3, 3), V = 90, that moves without jumps."""
    return None
