"""Some faces to look at, from wherever somebody has them; ages aren't needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minissr.data.images import PictureError, read_picture, shrink
from minissr.data.opening import SYNTHETIC, open_dataset
from minissr.data.prepared import META
from minissr.errors import DataError
from minissr.faces.answers import find_pictures


def sample_faces(spec: str, count: int, size: int, split: str | None = None) -> np.ndarray:
    """Faces, evenly taken from all there are.

    Parameters
    ----------
    spec : str
        "synthetic", a prepared directory, or a folder, file or pattern of pictures, each of one
        cropped face.
    count : int
        At most so many.
    size : int
        Height and width they shall have, in pixels.
    split : str, optional
        "train", "val" or "test" of a prepared directory or of the synthetic faces; by default test
        where there is one, else all.

    Returns
    -------
    ndarray (n, size, size, 3), uint8, RGB
        In the order in which they lie there.

    Raises
    ------
    DataError
        If there is no face.
    """
    if count < 1:
        raise DataError(f"{count} faces; ask for 1 or more")
    if spec == SYNTHETIC:
        from minissr.data.synthetic import draw_faces

        images = list(draw_faces(count, stream=split or "test")[0])
    else:
        files = list(find_pictures([spec]))  # what holds no picture is given back as it is
        pictures = Path(files[0]).is_file() and not (Path(spec) / META).exists()
        images = from_pictures(files, count) if pictures else from_dataset(spec, count, split)
    return np.stack([face if face.shape[0] == size else shrink(face, size) for face in images])


def from_dataset(spec: str, count: int, split: str | None) -> list[np.ndarray]:
    """Faces of a prepared directory; DataError with the remedy if it isn't one."""
    data = open_dataset(spec)
    chosen = split or ("test" if "test" in data.splits else None)
    parts = [data.split(chosen)] if chosen else list(data.splits.values())
    places = [(part.images, i) for part in parts for i in range(len(part))]
    return [images[i] for images, i in evenly(places, count)]


def from_pictures(files: list[str], count: int) -> list[np.ndarray]:
    """Faces in picture files; those that can't be read are passed over."""
    faces = []
    for file in evenly(files, count):
        try:
            faces.append(read_picture(file))
        except PictureError as error:
            last = error
    if not faces:
        raise DataError(f"none of {len(files)} pictures could be read; the last: {last}")
    return faces


def evenly(items: list[Any], count: int) -> list[Any]:
    """`count` or fewer of the items, equally far apart."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in places]
