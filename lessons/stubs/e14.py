"""Your answers to lesson 14. Check one with `check("14.1")` in the notebook, or submit them all:

python -m lessons.check 14
"""

import numpy as np  # noqa: F401


def step_schedule(step, lr, epochs, steps_per_epoch):
    """14.1: the learning rate at a step, a tenth after each third of the epochs."""
    return None


def by_decade(predicted, true):
    """14.2: ages (N,), (N,) -> {0: MAE of those from 0 to 9 years, 10: ..., ...}."""
    return None


def flip(images, chosen):
    """14.3: images (N, H, W, 3), chosen (N,) of booleans -> the chosen ones mirrored."""
    return None


def weights(ages):
    """14.4: ages (N,) -> weights (N,), mean 1, the same total for every decade that occurs."""
    return None
