"""Pictures in, rows of ages out; a picture that fails is a row, not the end."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minissr.data.headers import SUFFIXES
from minissr.data.images import PictureError, read_picture, shrink

TOGETHER = 64  # pictures read before the network is asked


@dataclass
class Answer:
    """One face, or one picture that gave none.

    Attributes
    ----------
    file : str
    face : int or None
        Which face of the picture, from 0.
    box : list of int or None
        Left, top, right, bottom of the face in the picture, in pixels.
    age : float or None
        Years, clamped to the ages the network was made for.
    raw_age : float or None
        Years, as the network says.
    status : "ok" | "error"
    message : str
        What is wrong, or empty.
    stages : list of dict or None
        What each stage says, where it was asked for.
    gender : str or None
        From a network for gender, whose rows have no age.
    gender_score : float or None
        What that network says, on its scale from 0 to 1.
    """

    file: str
    face: int | None = None
    box: list[int] | None = None
    age: float | None = None
    raw_age: float | None = None
    status: str = "ok"
    message: str = ""
    stages: list[dict[str, Any]] | None = None
    gender: str | None = None
    gender_score: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; `stages` only where they were asked for, gender where it was told."""
        optional = ("stages", "gender", "gender_score")
        return {k: v for k, v in asdict(self).items() if v is not None or k not in optional}


def find_pictures(paths: Iterable[str]) -> Iterator[str]:
    """The files that files, folders and patterns mean, in order, each once.

    A folder means the pictures in it and below it, sorted. What means no file at all is given
    back as it is, for `answers` to complain about.
    """
    seen = set()
    for path in paths:
        for found in _expand(path):
            if found not in seen:
                seen.add(found)
                yield found


def _expand(path: str) -> list[str]:
    found: list[str] = []
    if os.path.isdir(path):
        found = sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(path)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        )
    elif not os.path.exists(path) and glob.has_magic(path):
        found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    return found or [path]


def answers(estimator: Any, files: Sequence[str], *, explain: bool = False) -> Iterator[Answer]:
    """A row for each file, in order.

    Parameters
    ----------
    estimator : Estimator
    files : sequence of str
        Pictures of one cropped face each.
    explain : bool
        Also tell what each stage says.
    """
    for start in range(0, len(files), TOGETHER):
        rows, faces = [], []
        for file in files[start : start + TOGETHER]:
            row, face = _read(file, estimator.network.preprocessing.size)
            rows.append(row)
            if face is not None:
                faces.append((row, face))
        if faces:
            images = np.stack([face for _, face in faces])
            for (row, face), age in zip(faces, estimator.predict(images), strict=True):
                _fill(row, float(age), estimator)
                if explain and row.status == "ok":
                    row.stages = [_plain(stage) for stage in estimator.explain(face)["stages"]]
        yield from rows


def _read(file: str, size: int) -> tuple[Answer, np.ndarray | None]:
    try:
        if not Path(file).is_file():  # reading a pipe would wait for ever
            raise PictureError(file, "unreadable", f"{_what_is(file)}; check the name")
        picture = read_picture(file)
    except PictureError as error:
        return Answer(file, status="error", message=error.sentence), None
    height, width = picture.shape[:2]
    return Answer(file, face=0, box=[0, 0, width, height]), shrink(picture, size)


def _what_is(path: str) -> str:
    if os.path.isdir(path):
        return f"is a folder without pictures ({', '.join(SUFFIXES)})"
    return "is no ordinary file" if os.path.exists(path) else "there is no such file"


def _fill(row: Answer, age: float, estimator: Any) -> None:
    if not math.isfinite(age):
        row.status, row.message = "error", "the network's answer is not a number; train it again"
        return
    scale = estimator.network.scale
    if scale is not None:
        row.gender, row.gender_score = scale[age >= 0.5], age
        return
    low, high = estimator.age_range
    row.raw_age, row.age = age, min(max(age, low), high)


def _plain(stage: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(value).astype(float).tolist() for name, value in stage.items()}
