"""How far predicted ages are from true ones, in the figures that papers on age give.

Ages are clamped nowhere here: what the network says is what is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def errors(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """predicted - true as float64 (N,), in years; of the same shape and not empty, or ValueError.

    The shapes are compared because NumPy would not: (N,) minus (N, 1) is every prediction against
    every age, the slip the released weights were trained with.
    """
    predicted, true = np.asarray(predicted), np.asarray(true)
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise ValueError(f"{predicted.shape} predictions for {true.shape} ages; expected (N,) both")
    if not len(true):
        raise ValueError("no faces to measure on; choose another --split")
    return predicted.astype(np.float64) - true.astype(np.float64)


def mean_absolute_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """MAE = mean |predicted - true|, in years."""
    return float(np.abs(errors(predicted, true)).mean())


def cumulative_accuracy(predicted: np.ndarray, true: np.ndarray, n: float) -> float:
    """CA(n): the share of faces whose error is at most n years, 0 to 1.

    Deviations: the paper's text says "smaller than n", its MegaAge-Asian protocol counts "at
    most"; with whole-number ages and predictions only the latter makes CA(0) mean anything.
    """
    return float((np.abs(errors(predicted, true)) <= n).mean())


def summary(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """The figures for one set of faces.

    Parameters
    ----------
    predicted, true : ndarray (N,), in years.

    Returns
    -------
    dict
        `n` faces; `mae`, `median_ae`, `rmse` and `bias` (mean of predicted - true) in years;
        `ca3` and `ca5`, shares from 0 to 1.
    """
    error = errors(predicted, true)
    size = np.abs(error)
    return {
        "n": len(error),
        "mae": float(size.mean()),
        "median_ae": float(np.median(size)),
        "bias": float(error.mean()),
        "ca3": cumulative_accuracy(predicted, true, 3),
        "ca5": cumulative_accuracy(predicted, true, 5),
        "rmse": float(np.sqrt(np.square(error).mean())),
    }


def by_decade(predicted: np.ndarray, true: np.ndarray) -> list[dict[str, Any]]:
    """MAE and bias for people of 0 to 9 years, 10 to 19 and so on; empty decades are left out."""
    decade = np.floor(np.asarray(true) / 10).astype(int) * 10
    return [
        {"from": int(first), "to": int(first) + 9, **brief(predicted, true, decade == first)}
        for first in np.unique(decade)
    ]


def by_group(
    predicted: np.ndarray, true: np.ndarray, labels: Mapping[str, np.ndarray]
) -> dict[str, list[dict[str, Any]]]:
    """MAE and bias for each value of each label, such as gender; faces without one are left out.

    Labels that say nothing (one value) or too much (over 20, such as a file's name) are left out.
    """
    result = {}
    for name, values in labels.items():
        values = np.asarray(values)
        if values.dtype.kind == "f" and np.all(values == np.floor(values)):
            values = values.astype(np.int64)  # 1 and not 1.0: a code, not a measurement
        values = values.astype(str)
        present = [value for value in np.unique(values) if value and value != "nan"]
        if 2 <= len(present) <= 20:
            result[name] = [
                {"value": str(value), **brief(predicted, true, values == value)}
                for value in present
            ]
    return result


def brief(predicted: np.ndarray, true: np.ndarray, chosen: np.ndarray) -> dict[str, Any]:
    """Count, MAE and bias (years) of the chosen faces."""
    error = errors(predicted[chosen], true[chosen])
    return {
        "n": len(error),
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
    }
