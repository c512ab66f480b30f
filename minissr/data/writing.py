"""Writing a data set so that it is there entirely or not at all.

Everything is written under names that end in `.part`, synced to the disk, and renamed when all of
it is there, `meta.json` last. Until then a data set that is being replaced stays as it was.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from minissr.data.labels import SPLITS, Row
from minissr.data.prepared import (
    CONTACT,
    DECODED,
    FILES,
    FORMAT,
    IMAGES,
    LABELS,
    META,
    PART,
    VERSION,
    unfinished,
)
from minissr.errors import DataError, DiskError, RunInUseError

BLOCK = 4096  # faces copied at a time


class NewDataset:
    """A directory that becomes a data set when `finish` returns.

    Use it in a `with` block: on leaving without `finish`, what it wrote is removed, but for files
    that already got their names. Those look like a person's own, so `decoded.part` stays beside
    them: only where it is do files of such names count as ours. Raises
    DataError if the directory holds something else, RunInUseError if another process is writing
    there, DiskError if it can't be written.
    """

    def __init__(self, directory: str | Path, *, overwrite: bool = False) -> None:
        self.directory = Path(directory)
        self.overwrite = overwrite
        self.resumed = False  # whether an interrupted preparation was found here
        self.decoded: BinaryIO

    def __enter__(self) -> NewDataset:
        self._check()
        try:
            self.made = not self.directory.exists()
            self.directory.mkdir(parents=True, exist_ok=True)
            path = self.directory / (DECODED + PART)
            self.decoded = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DiskError(
                f"--out {self.directory} can't be written ({reason}); name another place"
            ) from error
        _lock(self.decoded, self.directory)
        self.decoded.truncate(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # what a full disk kept it from writing isn't needed
            self.decoded.close()
        named = {name for name in FILES if (self.directory / name).exists()}
        for path in unfinished(self.directory):
            if path.name != DECODED + PART or META in named or not named:
                path.unlink(missing_ok=True)
        if self.made and not any(self.directory.iterdir()):
            self.directory.rmdir()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise DiskError(
                f"--out {self.directory} can't be written "
                f"({(error.strerror or str(error)).lower()}); make room or name another place"
            ) from error

    def faces(self, n: int, size: int) -> np.ndarray:
        """The decoded rows, mapped: (n, size, size, 3) uint8, in the order of the source."""
        self.decoded.flush()
        return np.memmap(self.decoded, np.uint8, "r", shape=(n, size, size, 3))

    def finish(
        self,
        rows: Sequence[Row],
        where: np.ndarray,
        splits: np.ndarray,
        groups: np.ndarray,
        columns: Sequence[str],
        contact: Callable[[np.ndarray, np.ndarray], bytes],
        meta: dict[str, Any],
    ) -> dict[str, Any]:
        """Write the data set and give its files their names.

        Parameters
        ----------
        rows : the N usable rows.
        where : ndarray (N,), int; row i's face is number where[i] of `decoded`.
        splits : ndarray (N,) of "train", "val", "test".
        groups : ndarray (N,), int, written as column `group` unless the source has one.
        columns : names of the other columns, in order.
        contact : (faces, ages) -> the bytes of contact.png.
        meta : what `meta.json` says beside format, counts and digests; "preprocessing" among it.

        Returns
        -------
        dict, `meta.json` as written.
        """
        rank = np.array([SPLITS.index(split) for split in splits])
        order = np.argsort(rank, kind="stable")
        size = int(meta["preprocessing"]["size"])
        decoded = self.faces(int(where.max()) + 1, size)
        digests = {IMAGES: self._write_images(decoded, where[order])}
        text = _labels(rows, order, splits, groups, columns)
        digests[LABELS] = self._write(LABELS, text)
        ages = np.array([rows[i].age for i in order])
        mapped = np.load(self.directory / (IMAGES + PART), mmap_mode="r")
        self._write(CONTACT, contact(mapped, ages))
        counts = {name: int((splits == name).sum()) for name in SPLITS if (splits == name).any()}
        whole = {"format": FORMAT, "version": VERSION, "count": len(rows), "splits": counts}
        whole |= {**meta, "digests": digests}
        self._write(META, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())
        (self.directory / META).unlink(missing_ok=True)  # what follows is incomplete until the end
        _sync_directory(self.directory)
        for name in FILES:
            os.replace(self.directory / (name + PART), self.directory / name)
        _sync_directory(self.directory)
        return whole

    def _check(self) -> None:
        """Refuse a directory that holds anything but a data set we may replace."""
        out = self.directory
        if out.exists() and not out.is_dir():
            raise DataError(f"--out {out} is a file; name a directory")
        if not out.exists():
            return
        if (out / META).exists():
            if not self.overwrite:
                raise DataError(
                    f"--out {out} holds a complete data set; name another, or replace it "
                    "with --overwrite"
                )
            return
        found = {path.name for path in out.iterdir()}
        ours = {path.name for path in unfinished(out)}
        if DECODED + PART in ours:
            ours.update(FILES)
        if strangers := sorted(found - ours):
            raise DataError(
                f"--out {out} is not empty (it holds {strangers[0]}); name a new directory"
            )
        self.resumed = bool(found)

    def _write_images(self, decoded: np.ndarray, where: np.ndarray) -> str:
        sha = hashlib.sha256()
        header = io.BytesIO()
        shape = (len(where), *decoded.shape[1:])
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        with open(self.directory / (IMAGES + PART), "wb") as file:
            file.write(header.getvalue())
            sha.update(header.getvalue())
            for start in range(0, len(where), BLOCK):
                data = decoded[where[start : start + BLOCK]].tobytes()
                file.write(data)
                sha.update(data)
            _sync(file)
        return sha.hexdigest()

    def _write(self, name: str, data: bytes) -> str:
        with open(self.directory / (name + PART), "wb") as file:
            file.write(data)
            _sync(file)
        return hashlib.sha256(data).hexdigest()


def _labels(
    rows: Sequence[Row],
    order: np.ndarray,
    splits: np.ndarray,
    groups: np.ndarray,
    columns: Sequence[str],
) -> bytes:
    """labels.csv: file, age, split, group, then the source's other columns."""
    others = [name for name in columns if name not in ("split", "group")]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "age", "split", "group", *others])
    for i in order.tolist():
        row = rows[i]
        group = row.columns.get("group", str(groups[i]))
        values = [row.columns[name] for name in others]
        writer.writerow([row.file, f"{row.age:g}", splits[i], group, *values])
    return text.getvalue().encode("utf-8")


def _lock(file: BinaryIO, directory: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there the second writer fails on renaming
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise RunInUseError(
            f"--out {directory} is being written by another prepare; wait or name another"
        ) from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
