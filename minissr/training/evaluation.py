"""Measuring one network on one set of faces: what `evaluate` prints and a report shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.data.faces import Dataset, FaceSet
from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError, MinissrError
from minissr.nn.module import Module
from minissr.training import metrics
from minissr.training.measure import health_of, predict_ages

SPLITS = ("train", "val", "test", "all")


@dataclass
class Evaluation:
    """What came out.

    Attributes
    ----------
    split : str
    faces : FaceSet
    predicted : ndarray (N,), float32, years
    constant : str
        What the baseline says of every face, in words.
    figures : dict
        `n, parameters, mae, median_ae, bias, ca3, ca5, rmse, baseline_mae, best_possible_mae,
        by_decade, stage_health`, and `by_group` where faces are labelled.
    """

    split: str
    faces: FaceSet
    predicted: np.ndarray
    constant: str
    figures: dict[str, Any]


def evaluate(
    model: Module,
    preprocessing: Preprocessing,
    data: Dataset,
    split: str | None = None,
    train_median: float | None = None,
    check: Callable[[], None] = lambda: None,
    *,
    flip: bool = False,
) -> Evaluation:
    """Measure a network.

    Parameters
    ----------
    model : Module
    preprocessing : Preprocessing
        The network's own; the data's must be cropped alike, which can't be checked.
    data : Dataset
    split : str, optional
        One of `SPLITS`; by default test where there is one, else val.
    train_median : float, optional
        Years; the baseline where `data` has no training faces itself.
    check : callable
        Called before each batch; may raise to stop.
    flip : bool
        Take the mean of the ages of each face and its mirror image.

    Raises
    ------
    DataError
        If there are no such faces.
    """
    split = split or next((s for s in ("test", "val") if s in data.splits), "all")
    faces, predicted = _predict(model, preprocessing, data, split, check, flip)
    if not np.isfinite(predicted).all():
        lost = int((~np.isfinite(predicted)).sum())
        raise MinissrError(
            f"the network gives no age for {lost} of {len(faces)} faces (not a finite number); "
            "train it again with a lower --lr"
        )
    constant, baseline = _baseline(data, faces, train_median)
    groups = metrics.by_group(predicted, faces.ages, faces.labels)
    figures: dict[str, Any] = {
        **metrics.summary(predicted, faces.ages),
        "parameters": model.parameter_count(),
        "baseline_mae": metrics.mean_absolute_error(np.full_like(faces.ages, baseline), faces.ages),
        "best_possible_mae": data.best_possible_mae,
        "by_decade": metrics.by_decade(predicted, faces.ages),
        "stage_health": health_of(model, faces.images, preprocessing),
    }
    if groups:
        figures["by_group"] = groups
    return Evaluation(split, faces, predicted, f"{constant} ({baseline:g})", figures)


def _predict(
    model: Module,
    preprocessing: Preprocessing,
    data: Dataset,
    split: str,
    check: Callable[[], None],
    flip: bool,
) -> tuple[FaceSet, np.ndarray]:
    parts = list(data.splits.values()) if split == "all" else [data.split(split)]
    size = preprocessing.size
    if any(part.images.shape[1:3] != (size, size) for part in parts):
        height, width = parts[0].images.shape[1:3]
        raise DataError(
            f"{data.name} has faces of {width}x{height} pixels and the network wants "
            f"{size}x{size}; prepare them again"
        )
    predicted = [
        predict_ages(model, part.images, preprocessing, check, flip=flip) for part in parts
    ]
    if len(parts) == 1:
        return parts[0], predicted[0]
    shared = set.intersection(*(set(part.labels) for part in parts))
    labels = {
        name: np.concatenate([part.labels[name] for part in parts])
        for name in parts[0].labels
        if name in shared
    }
    faces = FaceSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.ages for part in parts]),
        labels,
    )
    return faces, np.concatenate(predicted)


def _baseline(data: Dataset, faces: FaceSet, train_median: float | None) -> tuple[str, float]:
    """Whose median a constant would predict: the best one that doesn't look at the answers."""
    if "train" in data.splits:
        return "median of the training faces", float(np.median(data.splits["train"].ages))
    if train_median is not None:
        return "median of the network's training", float(train_median)
    return "median of these very faces", float(np.median(faces.ages))
