"""The on-disk form of a data set: three files in a directory.

`images.npy`  uint8 (N, 64, 64, 3), RGB, memory-mapped; the rows of one split lie together, so a
              split is a slice of the map and nothing is copied.
`labels.csv`  file, age, split, group and whatever other columns the source had; row i of it is
              face i.
`meta.json`   where it came from, counts, what was dropped and why, preprocessing, digests, the
              split and its seed. Written last: where it is, the data set is complete.

The files hold no date and no path, so the same pictures give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from minissr.data.faces import Dataset, FaceSet
from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError

FORMAT, VERSION = "minissr faces", 1
IMAGES, LABELS, META, CONTACT = "images.npy", "labels.csv", "meta.json", "contact.png"
FILES = (IMAGES, LABELS, CONTACT, META)  # in the order in which they get their names
PART = ".part"  # ending of a file that isn't finished
DECODED = "decoded"  # the faces in the order in which they were read; it never loses its `.part`


def open_prepared(directory: str | Path) -> Dataset:
    """Open a prepared data set; its faces are mapped, not read. Raises DataError."""
    directory = Path(directory)
    meta = read_meta(directory)
    again = "run prepare again with --overwrite"
    try:
        counts = {str(name): int(n) for name, n in meta["splits"].items()}
        digests = {name: str(meta["digests"][name]) for name in (IMAGES, LABELS)}
        preprocessing = Preprocessing.from_json(meta["preprocessing"])
        source = str(meta["source"]["name"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{directory / META}: lacks or garbles {error}; {again}") from error
    text = _read(directory / LABELS, again)
    if hashlib.sha256(text).hexdigest() != digests[LABELS]:
        raise DataError(f"{directory / LABELS}: was changed since it was prepared; {again}")
    n, size = sum(counts.values()), preprocessing.size
    images = _map_images(directory / IMAGES, (n, size, size, 3), again)
    columns = _columns(text)
    if len(columns["age"]) != n:
        raise DataError(f"{directory / LABELS}: has {len(columns['age'])} rows, not {n}; {again}")
    ages = columns.pop("age").astype(np.float32)
    splits, start = {}, 0
    for name, count in counts.items():
        rows = slice(start, start + count)
        labels = {column: values[rows] for column, values in columns.items() if column != "split"}
        splits[name] = FaceSet(images[rows], ages[rows], labels)
        start += count
    digest = hashlib.sha256(
        json.dumps([digests, preprocessing.to_json()], sort_keys=True).encode()
    ).hexdigest()
    return Dataset(
        directory.resolve().name, splits, preprocessing, digest=digest, source=f"from {source}"
    )


def read_meta(directory: Path) -> dict[str, Any]:
    """`meta.json`, after checking that there is a complete data set. Raises DataError."""
    if not directory.exists():
        raise DataError(
            f"data {str(directory)!r} is neither 'synthetic' nor a directory; make one with "
            "python -m minissr.prepare"
        )
    if not directory.is_dir():
        raise DataError(
            f"{directory}: is a file; prepare it first: python -m minissr.prepare SOURCE "
            f"{directory} --out DATA"
        )
    path = directory / META
    if not path.exists():
        if unfinished(directory):
            raise DataError(
                f"{directory}: holds a data set whose preparation was interrupted (no {META}); "
                "run the prepare command again"
            )
        raise DataError(
            f"{directory}: is no prepared data set (no {META}); make one with "
            f"python -m minissr.prepare SOURCE {directory} --out DATA"
        )
    try:
        meta = json.loads(_read(path, "run prepare again"))
    except ValueError as error:
        raise DataError(f"{path}: is damaged ({error}); run prepare again") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(f"{path}: does not describe faces prepared by minissr; name another --data")
    if meta.get("version") != VERSION:
        raise DataError(
            f"{path}: is of version {meta.get('version')!r} and this minissr reads {VERSION}; "
            "run prepare again"
        )
    return meta


def check_images(directory: str | Path) -> None:
    """Read all of `images.npy` and compare its digest; opening alone doesn't. Raises DataError."""
    directory = Path(directory)
    meta = read_meta(directory)
    sha = hashlib.sha256()
    with open(directory / IMAGES, "rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    if sha.hexdigest() != meta["digests"][IMAGES]:
        raise DataError(f"{directory / IMAGES}: was changed since it was prepared; prepare again")


def unfinished(directory: Path) -> list[Path]:
    """The files that an interrupted preparation left."""
    parts = [directory / (name + PART) for name in (DECODED, *FILES)]
    return [path for path in parts if path.exists()]


def _read(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: can't be read ({reason}); {remedy}") from error


def _map_images(path: Path, shape: tuple[int, ...], remedy: str) -> np.ndarray:
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        size = path.stat().st_size
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: is missing, damaged or truncated ({error}); {remedy}") from error
    if images.shape != shape or images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise DataError(
            f"{path}: holds {images.dtype} {images.shape} where {META} says uint8 {shape}; {remedy}"
        )
    if size != images.offset + images.nbytes:
        raise DataError(f"{path}: is {size} bytes, not {images.offset + images.nbytes}; {remedy}")
    return images


def _columns(text: bytes) -> dict[str, np.ndarray]:
    """The columns of labels.csv: int64 or float64 where every value is a number, else text."""
    header, *rows = csv.reader(io.StringIO(text.decode("utf-8"), newline=""))
    values = zip(*rows, strict=True) if rows else [()] * len(header)
    columns = {name: np.array(column) for name, column in zip(header, values, strict=True)}
    for name, column in columns.items():
        for kind in (np.int64, np.float64):
            try:
                columns[name] = column.astype(kind)
                break
            except (ValueError, OverflowError):
                continue
    return columns
