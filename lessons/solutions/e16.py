"""Lesson 16, one answer to each exercise."""

import itertools

import numpy as np


def shape_of(a, b):
    """From the right, a missing place counting as 1; then turn it round again."""
    result = []
    for m, n in itertools.zip_longest(reversed(a), reversed(b), fillvalue=1):
        if m != n and 1 not in (m, n):
            return "error"
        result.append(n if m == 1 else m)
    return tuple(reversed(result))


def lowest_age(q, stages, V):
    """1 + delta goes to 2: every stage has twice its bins, and the widths are the least."""
    return float((V / np.cumprod([2 * s for s in stages])) @ q)


def own_std(width, index):
    """Only the index is left to move; so a coarser stage's delta doesn't count as life."""
    return float(width.mean() * index.std())


def suspicious(ages):
    """Nobody under ten among the answers, and they pile up at the lower end."""
    return bool(np.min(ages) > 10)
