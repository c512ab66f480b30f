"""`csv`: anybody's own pictures, named with their ages in a labels file."""

from __future__ import annotations

from pathlib import Path

from minissr.data.labels import Listing, read_labels
from minissr.data.pictures import Pictures
from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError

PREPROCESSING = Preprocessing()


def list_faces(pictures: Pictures, labels: Path | None) -> Listing:
    """The rows of the labels file, in its order."""
    if labels is None:
        raise DataError("prepare csv needs a labels file; add --labels FILE (columns file, age)")
    return read_labels(labels, pictures, PREPROCESSING)
