"""Your answers to lesson 15. Check one with `check("15.1")` in the notebook, or submit them all:

python -m lessons.check 15
"""

import numpy as np  # noqa: F401


def summary(maes):
    """15.1: errors of some seeds (n,) -> their mean and its standard error."""
    return None


def wins(a, b):
    """15.2: errors (n,) and (m,) -> the share of pairs in which a's is smaller."""
    return None


def settings():
    """15.3: a dict of settings of a head of your own."""
    return None
