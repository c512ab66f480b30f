"""Your answers to lesson 05. Check one with `check("05.1")` in the notebook, or submit them all:

python -m lessons.check 05
"""


def flat_index(place, shape):
    """Where the element at `place` of a C-contiguous array lies, counted in numbers."""
    return None


def best_tile(count, most_v):
    """The pair (P, V), V at most most_v, with the most multiplications per load that fits."""
    return None


def repeatable_sum(values, threads):
    """(sum, number of pieces), the same bits for every number of threads; float32."""
    return None


def roofline(n, side, c, co, peak, bandwidth):
    """The most operations a second a 3x3 convolution can reach."""
    return None


def two_results(d, g):
    """The pair (y0, y1) of four numbers d and a window of three g, with four products."""
    return None
