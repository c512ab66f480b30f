"""`utkface`: the aligned and cropped pictures of UTKFace (Zhang, Song and Qi 2017).

A name is `age_gender_race_time.jpg.chip.jpg`: gender 0 male, 1 female; race 0 White, 1 Black,
2 Asian, 3 Indian, 4 other. A few names of the original lack gender or race; the age is what
counts, so these are kept. What is missing, or no gender or race, is an empty column, and so are
both where a single number (`61_1_2017...`) may be either; in `53__0_2017...` its place says it.
"""

from __future__ import annotations

import re
from pathlib import Path

from minissr.data.images import PictureError
from minissr.data.labels import BadRow, Listing, Row, each_picture, parse_age, read_labels
from minissr.data.pictures import Pictures
from minissr.data.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(alignment="utkface-chip")
NAME = re.compile(r"(?P<age>\d+)_(?:(?:(?P<gender>[01])|\d?)_(?:(?P<race>[0-4])|\d?)_|\d_)?\d{6,}")


def list_faces(pictures: Pictures, labels: Path | None) -> Listing:
    """The rows of the labels file, in its order; without one, the file names, sorted."""
    if labels is not None:
        return read_labels(labels, pictures, PREPROCESSING)
    listing = Listing(PREPROCESSING, columns=("gender", "race"))
    for member in each_picture(pictures, listing):
        try:
            listing.rows.append(_row(member))
        except PictureError as error:
            listing.bad.append(BadRow.of(error))
    return listing


def _row(member: str) -> Row:
    match = NAME.match(member.rpartition("/")[2])
    if match is None:
        raise PictureError(
            member, "bad name", "is not named age_gender_race_time; rename it or use prepare csv"
        )
    try:
        age = parse_age(match["age"])
    except ValueError as error:
        raise PictureError(member, "bad age", f"{error}") from error
    return Row(member, member, age, {"gender": match["gender"] or "", "race": match["race"] or ""})
