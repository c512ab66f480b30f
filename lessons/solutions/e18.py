"""Lesson 18, one answer to each exercise."""

import numpy as np


def median_ratio(a, b):
    """Medians first, then the ratio: single ratios would pair calls that have nothing in common."""
    return float(np.median(a) / np.median(b))


def turns(names, rounds):
    """Forwards in even rounds, backwards in odd ones."""
    order = []
    for k in range(rounds):
        order += list(names) if k % 2 == 0 else list(names)[::-1]
    return order


def divisible(speedup, threads):
    """1 / S = 1 - a (1 - 1/n), solved for a."""
    return (1 - 1 / speedup) / (1 - 1 / threads)


def verdict(a, b):
    """Redraw both sides many times; if nearly all ratios are on one side of 1, believe it."""
    rng = np.random.default_rng(0)
    again = [
        np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b))) for _ in range(300)
    ]
    low, high = np.quantile(again, [0.01, 0.99])
    if high < 1:
        return "faster"
    return "slower" if low > 1 else "can't tell"
