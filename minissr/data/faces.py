"""Faces with ages: what training and evaluation are given; `opening` says where they are from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError


@dataclass
class FaceSet:
    """One part of a data set.

    Attributes
    ----------
    images : ndarray or memory map (N, S, S, 3), uint8, RGB.
    ages : ndarray (N,), float32, years.
    labels : what else is known of each face: name -> ndarray (N,), e.g. file, group, gender.
        Numbers where every value is one, otherwise text.
    """

    images: np.ndarray
    ages: np.ndarray
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise ValueError(
                f"faces of shape {self.images.shape} and type {self.images.dtype}; "
                "expected (N, S, S, 3) of uint8"
            )
        self.ages = np.asarray(self.ages, np.float32)
        for name, values in {"ages": self.ages, **self.labels}.items():
            if np.shape(values) != (n,):
                raise ValueError(f"{name} has shape {np.shape(values)}; expected ({n},)")

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Dataset:
    """A collection of faces in parts.

    Attributes
    ----------
    name : what reports call it.
    splits : "train", "val", "test" -> FaceSet; only those that have faces.
    preprocessing : what the network is to do with the pixels.
    best_possible_mae : years, where it is known (synthetic faces).
    digest : hexadecimal; equal for equal data.
    source : what `describe` says of where it came from.
    """

    name: str
    splits: dict[str, FaceSet]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    best_possible_mae: float | None = None
    digest: str = ""
    source: str = ""

    def split(self, name: str) -> FaceSet:
        """The part called `name`. Raises DataError naming those there are."""
        if name not in self.splits:
            raise DataError(
                f"{self.name} has no {name} faces, only {', '.join(self.splits)}; name another"
            )
        return self.splits[name]

    def describe(self) -> str:
        """One line: counts, ages, digest."""
        ages = np.concatenate([faces.ages for faces in self.splits.values()])
        counts = ", ".join(f"{len(faces):,} {name}" for name, faces in self.splits.items())
        parts = [
            f"{self.name}{f' ({self.source})' if self.source else ''}: {counts}",
            f"ages {ages.min():g} to {ages.max():g}, median {np.median(ages):g}",
        ]
        if self.best_possible_mae is not None:
            parts.append(f"best possible MAE {self.best_possible_mae:.2f} years")
        return "; ".join([*parts, f"digest {self.digest[:12]}"])
