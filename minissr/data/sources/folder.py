"""`folder`: anybody's own pictures, sorted or named by age.

The age of a picture is the name of its folder if that is a number (`25/anna.jpg`, `7.5/x.png`),
otherwise the number its own name starts with if "_" or "-" follows (`25_anna.jpg`, `25-7.png`).
A number alone (`0025.jpg`) is not taken for an age: it is more often a count.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from minissr.data.images import PictureError
from minissr.data.labels import BadRow, Listing, Row, each_picture, parse_age
from minissr.data.pictures import Pictures
from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError

PREPROCESSING = Preprocessing()
FOLDER = re.compile(r"(?P<age>-?\d+(\.\d+)?)")
NAME = re.compile(r"(?P<age>-?\d{1,3}(\.\d+)?)[_-]")


def list_faces(pictures: Pictures, labels: Path | None) -> Listing:
    """All pictures that folders or names give an age, sorted by name."""
    if labels is not None:
        raise DataError("prepare folder reads ages from names; with --labels use prepare csv")
    listing = Listing(PREPROCESSING)
    for member in each_picture(pictures, listing):
        try:
            listing.rows.append(Row(member, member, age_of(member)))
        except PictureError as error:
            listing.bad.append(BadRow.of(error))
    return listing


def age_of(member: str) -> float:
    """The age in years that a picture's folder or name states. Raises PictureError."""
    path = PurePosixPath(member)
    stated = FOLDER.fullmatch(path.parent.name) or NAME.match(path.name)
    if stated is None:
        raise PictureError(
            member, "no age", "is neither in a folder named by age (25/) nor named by it (25_a.jpg)"
        )
    try:
        return parse_age(stated["age"])
    except ValueError as error:
        raise PictureError(member, "bad age", f"{error}") from error
