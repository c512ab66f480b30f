"""Faces with ages, wherever they come from: drawn, or a directory that was prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minissr.data.faces import Dataset, FaceSet
from minissr.data.prepared import open_prepared

SYNTHETIC = "synthetic"


def open_dataset(
    spec: str | Path,
    *,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Any = None,
) -> Dataset:
    """Open `synthetic` faces or a directory that `python -m minissr.prepare` wrote.

    Parameters
    ----------
    spec : "synthetic", or the directory.
    seed : of the synthetic training and validation faces; a prepared set has its own, long since.
    settings : of the synthetic faces (`train_images`, `val_images`, `test_images`).
    progress : handed to the generator of synthetic faces.

    Raises
    ------
    DataError
        Naming what is missing or damaged, and the remedy.
    """
    if str(spec) == SYNTHETIC:
        from minissr.data.synthetic import open_synthetic

        drawn = open_synthetic(seed=seed, settings=dict(settings or {}), progress=progress)
        return Dataset(
            SYNTHETIC,
            {name: FaceSet(*part) for name, part in drawn["splits"].items()},
            best_possible_mae=drawn["best_possible_mae"],
            digest=drawn["digest"],
        )
    if settings:
        raise ValueError(
            f"{', '.join(settings)}: settings of synthetic faces, but the data is {spec}; "
            "leave them out"
        )
    return open_prepared(spec)
