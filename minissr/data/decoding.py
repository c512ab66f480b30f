"""Decoding a whole collection: pictures in, rows of 64x64 faces in a file out.

One thread reads the folder or archive front to back, a few decode and shrink (OpenCV releases the
interpreter lock), and the first writes each face at its row. The file is written with `write`,
never through a memory map: on a full disk that is an error, where a map would kill the process.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from minissr.data.images import PictureError, decode, shrink
from minissr.data.labels import BadRow, Row
from minissr.data.pictures import Pictures


@dataclass
class Decoded:
    """Which rows have a face, the SHA-256 of each one's file, and what went wrong with the rest."""

    usable: np.ndarray  # (N,) bool
    digests: list[bytes]  # N of 32 bytes; empty for a row that isn't usable
    bad: list[BadRow]


def decode_faces(
    pictures: Pictures,
    rows: Sequence[Row],
    file: BinaryIO,
    *,
    size: int,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> Decoded:
    """Decode every row's picture and write it at its place in `file`.

    Parameters
    ----------
    file : writable, seekable; row i becomes bytes [i * size * size * 3, (i + 1) * size * size * 3).
    size : side of a face in pixels.
    workers : decoding threads; the number of usable cores, at most 8, if None.
    progress : called with the number of rows done since the last call.
    """
    row_of = {row.member: i for i, row in enumerate(rows)}
    result = Decoded(np.zeros(len(rows), bool), [b""] * len(rows), [])
    trouble: dict[int, BadRow] = {}
    nbytes = size * size * 3
    file.truncate(len(rows) * nbytes)

    def store(i: int, outcome: tuple[np.ndarray, bytes] | PictureError) -> None:
        progress(1)
        if isinstance(outcome, PictureError):
            trouble[i] = BadRow(rows[i].file, outcome.kind, outcome.sentence)
            return
        face, result.digests[i] = outcome
        file.seek(i * nbytes)
        file.write(face.data)
        result.usable[i] = True

    workers = workers or min(8, usable_cores())
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        pending: deque[tuple[int, Future[tuple[np.ndarray, bytes] | PictureError]]] = deque()
        try:
            for member, data in pictures.read([row.member for row in rows]):
                i = row_of[member]
                if isinstance(data, PictureError):
                    store(i, data)
                    continue
                pending.append((i, pool.submit(_decode, data, member, size)))
                while len(pending) > 4 * workers:  # enough to keep them busy, few in memory
                    j, future = pending.popleft()
                    store(j, future.result())
            while pending:
                j, future = pending.popleft()
                store(j, future.result())
        finally:
            for _, future in pending:
                future.cancel()
    result.bad = [trouble[i] for i in sorted(trouble)]
    return result


def _decode(data: bytes, name: str, size: int) -> tuple[np.ndarray, bytes] | PictureError:
    try:
        return shrink(decode(data, name), size), hashlib.sha256(data).digest()
    except PictureError as error:
        return error


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
