"""One file that holds a network, and for `last.safetensors` all of a training in progress.

The container is safetensors: names, shapes and raw numbers, never code. Beside the arrays it has
one metadata entry, `minissr`, with everything else as JSON of sorted keys: the network's
configuration, its preprocessing, the training configuration, how far the training is, and the
SHA-256 of the file itself. Nothing in it depends on the clock, the folder or the machine's name,
so two equal runs leave two equal files.

The digest is that of the whole file with the digest's own 64 characters replaced by zeros. It
covers every byte, header and padding included, so a file altered in any place is noticed before
anything in it is believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minissr.errors import CheckpointError
from minissr.training.files import write_atomically

FORMAT = 1
HEADER_LIMIT = 100_000_000  # bytes; the safetensors format's own limit

# The digest as it stands in the header: JSON inside a JSON string, hence the backslashes.
_DIGEST = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"')
_ZEROS = b"0" * 64


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    tensors : dict of str to ndarray
        `model/NAME` for the network's parameters and buffers; `last` also has `optimizer/NAME`.
    metadata : dict
        See `minissr.training.run_state`; plain JSON values.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]

    def section(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names start with `prefix/`, without it."""
        start = f"{prefix}/"
        return {k[len(start) :]: v for k, v in self.tensors.items() if k.startswith(start)}


def save_checkpoint(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write a checkpoint; the file appears whole or not at all.

    Parameters
    ----------
    path : path
    tensors : mapping of str to ndarray
        Any shapes; float32, float64 or integers.
    metadata : mapping
        Plain JSON values, all numbers finite.

    Raises
    ------
    DiskError
        If the disk is full or refuses; what was at `path` before is still there.
    """
    write_atomically(path, pack(tensors, metadata))


def pack(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint; equal contents give equal bytes."""
    from safetensors.numpy import save

    record = {**metadata, "format": FORMAT, "sha256": _ZEROS.decode()}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    blank = save(arrays, metadata={"minissr": text})
    digest = hashlib.sha256(blank).hexdigest().encode()
    place = _DIGEST.search(blank)
    if place is None or place[1] != _ZEROS:
        raise ValueError("the metadata must not have a key 'sha256' of its own")
    return blank[: place.start(1)] + digest + blank[place.end(1) :]


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and check every byte of it.

    Raises
    ------
    CheckpointError
        If the file is missing, not a checkpoint of minissr, truncated or altered in any byte.
    """
    data = _read_plausible(Path(path))
    header_end = 8 + int.from_bytes(data[:8], "little")
    places = list(_DIGEST.finditer(data, 8, header_end))
    if len(places) != 1:
        _refuse(path, "is not a checkpoint of minissr, or its header is damaged")
    (place,) = places
    digest = hashlib.sha256(data[: place.start(1)])
    digest.update(_ZEROS)
    digest.update(memoryview(data)[place.end(1) :])
    if digest.hexdigest().encode() != place[1]:
        _refuse(path, "is damaged: its contents do not match its SHA-256")
    return _unpack(path, data, header_end)


def _read_plausible(path: Path) -> bytes:
    """The file's bytes, if its size and the start of its header could be a checkpoint's."""
    try:
        status = os.stat(path)  # before opening: a pipe would be waited for
        if stat.S_ISDIR(status.st_mode):
            _refuse(path, "is a folder, not a checkpoint")
        if not stat.S_ISREG(status.st_mode):
            _refuse(path, "is not an ordinary file")
        with path.open("rb") as handle:
            start = handle.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or length > min(status.st_size - 8, HEADER_LIMIT):
                _refuse(path, "is not a checkpoint of minissr, or was cut short")
            header = handle.read(length)
            if not header.startswith(b'{"__metadata__":{"minissr":'):
                _refuse(path, "is not a checkpoint of minissr, or its header is damaged")
            return start + header + handle.read()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the name") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(f"{path} can't be read: {reason}; check its rights") from error


def _unpack(path: str | os.PathLike[str], data: bytes, header_end: int) -> Checkpoint:
    """Take apart bytes whose digest is right. They may still be of another version."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        metadata = json.loads(json.loads(data[8:header_end])["__metadata__"]["minissr"])
        if metadata["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {metadata['format']!r} and this minissr reads {FORMAT}; "
                "load it with the version that wrote it"
            )
        tensors = load(data)
    except (KeyError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{path} is not a valid checkpoint ({reason}); use another copy"
        ) from error
    return Checkpoint(tensors, metadata)


def _refuse(path: str | os.PathLike[str], what: str) -> NoReturn:
    raise CheckpointError(f"{path} {what}; use another copy of it or train again")
