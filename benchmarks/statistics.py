"""Medians, quartiles and ratios of repeated measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What is told of several measurements of one thing: quartiles, smallest, how many."""

    median: float
    low: float
    high: float
    best: float
    count: int


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, between neighbours by a straight line."""
    if not values:
        raise ValueError("no measurements; expected 1 or more")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread(values: Sequence[float]) -> Spread:
    """Median, quartiles and smallest of measurements in any unit."""
    low, median, high = (quantile(values, share) for share in (0.25, 0.5, 0.75))
    return Spread(median, low, high, min(values), len(values))


def ratios(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """How many times as long, round by round: both were measured in the same rounds.

    Whatever slowed the machine in a round slowed both, so these spread less than either.
    """
    if len(slower) != len(faster):
        raise ValueError(f"{len(slower)} and {len(faster)} rounds; expected as many of both")
    return [a / b for a, b in zip(slower, faster, strict=True)]
