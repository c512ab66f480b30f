"""Which pictures belong together: copies, near-copies, and pictures of one person.

Collections of faces from the web hold the same photograph several times, at other sizes,
brightnesses and crops, or mirrored. If one lands in training and its twin in validation, the
validation error flatters the network, so such pictures form a group, and a group is never divided
(`split`).

Two faces are near-duplicates if their grey 16x16 versions, mean removed, correlate by more than
`SIMILAR`, as they are or mirrored. On 20,851 faces of UTKFace grouped by another method, 0.97
finds all 565 of its pairs and 43 more, most of which are the same photograph on looking.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np

SIMILAR = 0.97  # correlation of two near-duplicates
SIDE = 16  # pixels of the small versions that are compared
WAVES = 6  # lowest frequencies each way, which rule most pairs out
BLOCK = 2048  # faces compared at a time


class Groups:
    """Disjoint sets of 0..n-1 (union-find): join two, and all they belong with are joined."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        a, b = self.root(i), self.root(j)
        self.parent[max(a, b)] = min(a, b)

    def join_equal(self, keys: Iterable[Hashable]) -> None:
        """Join all rows with the same key; an empty or None key joins nothing."""
        first: dict[Hashable, int] = {}
        for i, key in enumerate(keys):
            if key:
                self.join(first.setdefault(key, i), i)

    def numbers(self) -> np.ndarray:
        """The group of each row, (n,) int64, counted from 0 in the order of first rows."""
        number: dict[int, int] = {}
        rows = range(len(self.parent))
        return np.array([number.setdefault(self.root(i), len(number)) for i in rows], np.int64)


def signatures(faces: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What two faces are compared by.

    Parameters
    ----------
    faces : ndarray or memory map (M, S, S, 3), uint8 RGB, S a multiple of 16.
    where : ndarray (N,), int: the faces to look at.

    Returns
    -------
    ndarray (N, 256), float32: grey, 16x16, mean removed, of length 1; of length 0 where a picture
    is of one colour, which then resembles nothing.
    """
    n, size = len(where), faces.shape[1]
    cell = size // SIDE
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    out = np.empty((n, SIDE * SIDE), np.float32)
    for start in range(0, n, BLOCK):
        grey = faces[where[start : start + BLOCK]] @ luma  # (B, S, S)
        small = grey.reshape(-1, SIDE, cell, SIDE, cell).mean(axis=(2, 4)).reshape(len(grey), -1)
        small -= small.mean(axis=1, keepdims=True)
        length = np.linalg.norm(small, axis=1, keepdims=True)
        flat = length < SIDE  # spread below one grey level
        out[start : start + BLOCK] = np.where(flat, 0.0, small / np.where(flat, 1.0, length))
    return out


def near_duplicates(
    signature: np.ndarray, progress: Callable[[int], object] = lambda done: None
) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, whose signatures correlate above `SIMILAR`, also mirrored.

    All pairs are compared (20,000 faces take 2 seconds on two cores, twice as many four times as
    long), but most only in part. For vectors of length 1, correlation above c
    means |a - b|^2 = 2 - 2 a.b < 2 - 2c; a distance over some of the components of an orthonormal
    basis is at most the whole one, so the lowest cosine waves settle nearly every pair.

    Parameters
    ----------
    signature : ndarray (N, 256) of `signatures`.
    progress : called with the number of rows compared since the last call.
    """
    n = len(signature)
    mirrored = signature.reshape(n, SIDE, SIDE)[:, :, ::-1].reshape(n, -1)
    alive = np.any(signature, axis=1)
    wave = np.cos(np.pi * np.outer(np.arange(SIDE) + 0.5, np.arange(WAVES)) / SIDE)
    wave /= np.linalg.norm(wave, axis=0)  # orthonormal columns
    basis = np.kron(wave, wave)[:, 1:].astype(np.float32)  # (256, 35); the mean is 0 already
    left = _screen(signature @ basis, first=True)
    sides = [(other, _screen(other @ basis, first=False)) for other in (signature, mirrored)]
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for other, right in sides:
            closeness = left[start:stop] @ right[start:].T  # those before were compared already
            rows, columns = np.nonzero(closeness > SIMILAR - 1.0 - 1e-5)
            rows, columns = rows + start, columns + start
            keep = (rows < columns) & alive[rows] & alive[columns]
            for i, j in zip(rows[keep].tolist(), columns[keep].tolist(), strict=True):
                if signature[i] @ other[j] > SIMILAR:
                    yield i, j
        progress(stop - start)


def _screen(x: np.ndarray, *, first: bool) -> np.ndarray:
    """Two columns more, so that one product of matrices gives a.b - |a|^2/2 - |b|^2/2.

    That is -|a - b|^2 / 2: (a, |a|^2/2, 1) . (b, -1, -|b|^2/2).
    """
    half, one = (x * x).sum(axis=1, keepdims=True) / 2, np.ones((len(x), 1), x.dtype)
    return np.hstack([x, half, one] if first else [x, -one, -half])


def group_pictures(
    faces: np.ndarray,
    where: np.ndarray,
    digests: Sequence[bytes],
    keys: Iterable[Sequence[str]] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """Number the groups that a split must not divide.

    Parameters
    ----------
    faces : ndarray or memory map (M, S, S, 3), uint8 RGB.
    where : ndarray (N,), int: the faces that are rows.
    digests : N digests of the files; equal digests are copies.
    keys : columns of N values each (a group, a person); rows with equal values belong together.

    Returns
    -------
    ndarray (N,), int64.
    """
    groups = Groups(len(where))
    groups.join_equal(digests)
    for column in keys:
        groups.join_equal(column)
    for i, j in near_duplicates(signatures(faces, where), progress):
        groups.join(i, j)
    return groups.numbers()
