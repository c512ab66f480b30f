"""Your answers to lesson 17. Check one with `check("17.1")` in the notebook, or submit them all:

python -m lessons.check 17
"""

import numpy as np  # noqa: F401


def shares(p, eta, delta, stages, V):
    """17.1: one face's p, eta (s_1 + ... + s_K,), delta (K,) -> years each stage adds, (K,)."""
    return None


def cover(predict, image, size):
    """17.2: image (H, W) -> changes of predict as each patch is 0, (H / size, W / size)."""
    return None


def attribute(predict, gradient, image):
    """17.3: an image -> a map of its shape that adds up to predict(image) - predict(0)."""
    return None
