"""Lesson 15, one answer to each exercise."""

import numpy as np


def summary(maes):
    """The mean of n numbers varies by their own standard deviation over the root of n."""
    return float(np.mean(maes)), float(np.std(maes, ddof=1) / np.sqrt(len(maes)))


def wins(a, b):
    """Every pair at once: a column against a row. Here the broadcasting is meant."""
    a, b = a[:, None], b[None, :]
    return float(((a < b) + 0.5 * (a == b)).mean())


def settings():
    """Two stages are simpler and still fine enough: 25 classes of four years."""
    return {"stages": (5, 5), "lambda_d": 0.0, "lambda_local": 1.0}
