"""Your answers to lesson 13. Check one with `check("13.1")` in the notebook, or submit them all:

python -m lessons.check 13
"""

import numpy as np  # noqa: F401


def map_sizes(size, blocks):
    """13.1: width of the picture -> a list of the widths after each block, all with pooling."""
    return None


def stream_count(channels, blocks):
    """13.2: all numbers of a stream of so many blocks, moving statistics included."""
    return None


def prediction_block(s, x, weights):
    """13.3: s, x (N, features), weights by name -> p (N, S) and eta (N, S)."""
    return None


def smaller():
    """13.4: a dict of settings of a network of at most 20,000 numbers."""
    return None
