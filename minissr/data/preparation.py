"""From a source's pictures to a data set: list, decode, group, split, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minissr.data.contact import contact_sheet
from minissr.data.decoding import decode_faces
from minissr.data.duplicates import group_pictures
from minissr.data.images import opencv
from minissr.data.labels import BadRow, Listing
from minissr.data.pictures import open_pictures
from minissr.data.sources import source
from minissr.data.split import divided_groups, split_by_group
from minissr.data.writing import NewDataset
from minissr.errors import DataError

VAL_SHARE = 0.2
PERSON_COLUMNS = ("person", "subject", "identity")
RESIZE = "whole picture to a square, aspect ignored; OpenCV INTER_AREA (bilinear when enlarging)"


def prepare(
    source_name: str,
    directory: Path,
    out: Path,
    *,
    labels: Path | None = None,
    skip_bad_rows: bool = False,
    seed: int = 0,
    val_share: float | None = None,
    overwrite: bool = False,
    say: Callable[[str], object] = lambda sentence: None,
) -> dict[str, Any]:
    """Make a data set in `out` from the pictures in `directory`; nothing is there if it fails.

    Parameters
    ----------
    source_name : a name of `minissr.data.sources.SOURCES`.
    directory : folder, tar or zip.
    labels : labels file, for the sources that read one.
    skip_bad_rows : leave out what can't be used instead of refusing to begin.
    seed, val_share : of the split (share above 0 and below 1; None is 0.2), unless the labels
        file has a column `split`.
    overwrite : replace a complete data set.
    say : called with what is worth knowing before the work begins.

    Returns
    -------
    dict, what `meta.json` says.

    Raises
    ------
    DataError, DiskError, RunInUseError, ValueError
    """
    list_faces = source(source_name).list_faces
    if val_share is not None and not 0 < val_share < 1:
        raise ValueError(f"--val-share {val_share}; expected more than 0 and less than 1")
    if seed < 0:
        raise ValueError(f"--seed {seed}; expected 0 or more")
    if directory.is_dir() and out.resolve().is_relative_to(directory.resolve()):
        raise DataError(f"--out {out} lies inside {directory}; name a place outside it")
    opencv()  # if it is missing, say so before anything else
    with NewDataset(out, overwrite=overwrite) as new:
        if new.resumed:
            say(f"{out} holds what an interrupted prepare left; starting over")
        pictures = open_pictures(directory)
        listing: Listing = list_faces(pictures, labels)
        if not (listing.rows or listing.bad):
            raise DataError(
                f"{directory}: none of its {len(pictures.names)} files is a picture "
                "(.jpg, .png, .webp, .bmp, .tif); name the folder or archive that holds them"
            )
        if "split" in listing.columns and val_share is not None:
            raise DataError(
                f"{labels}: has a split column, so --val-share means nothing; leave one of them out"
            )
        total = len(listing.rows) + len(listing.bad)
        if not skip_bad_rows:  # before decoding: labels need no pixels to be wrong
            refuse_bad_rows(listing.bad, total)
        size = listing.preprocessing.size
        with _bar(len(listing.rows), "decoding") as bar:
            decoded = decode_faces(
                pictures, listing.rows, new.decoded, size=size, progress=bar.update
            )
        bad = [*listing.bad, *decoded.bad]
        if not skip_bad_rows:
            refuse_bad_rows(bad, total)
        where = np.flatnonzero(decoded.usable)
        rows = [listing.rows[i] for i in where]
        if len(rows) < 2:
            raise DataError(
                f"{directory}: has {'one usable picture' if rows else 'no usable picture'} of "
                f"{total}; a data set needs at least 2, one to train on and one to validate on"
            )
        columns = {name: [row.columns[name] for row in rows] for name in listing.columns}
        digests = [decoded.digests[i] for i in where]
        keys = [columns[name] for name in ("group", *PERSON_COLUMNS) if name in columns]
        faces = new.faces(len(listing.rows), size)
        with _bar(len(rows), "near-duplicates") as bar:
            groups = group_pictures(faces, where, digests, keys, bar.update)
        if "split" in columns:
            splits = np.array(columns["split"])
            split: dict[str, Any] = {"by": "labels file"}
        else:
            share = VAL_SHARE if val_share is None else val_share
            splits = split_by_group(groups, share, seed)
            split = {"by": "seed", "seed": seed, "val_share": share}
        ages = [row.age for row in rows]
        meta = {
            "source": {
                "kind": source_name,
                "name": directory.resolve().name,
                "labels": labels.name if labels else None,
            },
            "age": {"min": min(ages), "median": float(np.median(ages)), "max": max(ages)},
            "split": {
                **split,
                "groups": len(np.unique(groups)),
                "divided_groups": divided_groups(groups, splits),
            },
            "copies_of_another_age": copies_of_another_age(digests, ages),
            "dropped": {
                "count": len(bad),
                "by_kind": dict(Counter(row.kind for row in bad)),
                "rows": [{"file": row.file, "kind": row.kind, "reason": row.reason} for row in bad],
            },
            "ignored": dict(sorted((pictures.ignored + listing.ignored).items())),
            "preprocessing": listing.preprocessing.to_json(),
            "resize": RESIZE,
        }
        return new.finish(rows, where, splits, groups, listing.columns, contact_sheet, meta)


def refuse_bad_rows(bad: Sequence[BadRow], total: int) -> None:
    """Raise DataError naming the first few rows that can't be used, if there are any."""
    if not bad:
        return
    first = "; ".join(f"{row.file} {row.reason}" for row in bad[:3])
    more = f"; and {len(bad) - 3:,} more" if len(bad) > 3 else ""
    raise DataError(
        f"{len(bad):,} of {total:,} pictures can't be used: {first}{more} "
        "(or leave them out with --bad-rows skip)"
    )


def copies_of_another_age(digests: Sequence[bytes], ages: Sequence[float]) -> int:
    """How many pictures have a byte-identical copy labelled with another age."""
    ages_of: dict[bytes, set[float]] = {}
    for digest, age in zip(digests, ages, strict=True):
        ages_of.setdefault(digest, set()).add(age)
    return sum(len(ages_of[digest]) > 1 for digest in digests)


def _bar(total: int, what: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=" faces", mininterval=0.2)
