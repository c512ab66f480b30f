"""Dividing a collection into training and validation, never through a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from minissr.errors import DataError


def split_by_group(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Put about `share` of the rows, in whole groups, into validation.

    Groups are drawn in an order that depends on the seed and are taken as long as they fit. Both
    sides get at least one.

    Parameters
    ----------
    groups : ndarray (N,), int; rows of one group stay together.
    share : of the rows, above 0 and below 1.
    seed : whole number.

    Returns
    -------
    ndarray (N,) of "train" and "val".

    Raises
    ------
    DataError
        If there is one group in all.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"validation share {share}; expected more than 0 and less than 1")
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise DataError(
            f"all {len(groups)} pictures are of one group (copies, or one person), which can't be "
            "divided into training and validation; add others"
        )
    target = max(1, round(share * len(groups)))
    order = np.random.default_rng(seed).permutation(len(sizes))
    chosen = np.zeros(len(sizes), bool)
    taken = 0
    for group in order.tolist():
        if taken + sizes[group] <= target:
            chosen[group] = True
            taken += int(sizes[group])
    if not chosen.any():
        chosen[np.argmin(sizes)] = True
    if chosen.all():
        chosen[order[-1]] = False
    return np.where(chosen[number], "val", "train")


def divided_groups(groups: np.ndarray, splits: Sequence[str] | np.ndarray) -> int:
    """How many groups have rows in more than one split."""
    pairs = {(int(group), str(split)) for group, split in zip(groups, splits, strict=True)}
    return sum(n > 1 for n in Counter(group for group, _ in pairs).values())
