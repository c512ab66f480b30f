"""Your answers to lesson 18. Check one with `check("18.1")` in the notebook, or submit them all:

python -m lessons.check 18
"""

import numpy as np  # noqa: F401


def median_ratio(a, b):
    """18.1: times (n,) and (m,) -> how many times as long a takes as b."""
    return None


def turns(names, rounds):
    """18.2: a list of names -> the order of calls, a list of rounds * len(names) names."""
    return None


def divisible(speedup, threads):
    """18.3: the share of the work, 0 to 1, that can be divided among threads."""
    return None


def verdict(a, b):
    """18.4: times (n,) and (m,) -> "faster", "slower" or "can't tell", of a."""
    return None
