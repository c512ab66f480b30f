"""Reading the authors' Keras files (.h5): whatever such a file says, nothing is believed unchecked.

HDF5 is a file system in a file. It can point to other files (external links, external and virtual
data sets), name one thing twice, go round in circles, declare arrays larger than any memory and
hold Python objects. So a file is read in this order: its bytes into memory, where no link can lead
out; the names, following nothing but plain links; the declared shapes, types and places of all
arrays, without reading one; which network that is, and everything that doesn't fit, in one message;
and then the numbers, of which there are now exactly as many as the network has.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minissr.errors import CheckpointError, MinissrError
from minissr.models.keras_layouts import (
    KINDS,
    Layout,
    alike,
    plain,
    recognise,
    their_shape,
    to_ours,
)
from minissr.models.registry import build
from minissr.nn.module import fault

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
FILE_LIMIT = 1 << 28  # bytes; the largest network known here takes 14 million
OBJECT_LIMIT = 5000  # groups and arrays; an SSR-Net has 280 with its optimiser's
DEPTH_LIMIT = 12  # groups in groups
CHUNK_LIMIT = 1 << 26  # bytes that a compressed piece may unpack to
SHOWN = 200  # names in a message, and characters in each
WEIGHTS, OPTIMIZER = "model_weights", "optimizer_weights"  # groups of a whole model's file


@dataclass(frozen=True)
class KerasNetwork:
    """What a Keras file holds.

    Attributes
    ----------
    layout : Layout
    state : dict of str to ndarray
        Every parameter and buffer of ours, float32.
    left_out : int
        How many arrays of an optimiser the file holds beside them.
    sha256 : str
        Of the file, as `sha256sum` prints it.
    """

    layout: Layout
    state: dict[str, np.ndarray]
    left_out: int
    sha256: str


def read_keras(path: str | os.PathLike[str]) -> KerasNetwork:
    """Read one of the authors' files.

    Parameters
    ----------
    path : path
        What Keras' `save_weights` or `save` wrote, HDF5.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, hostile or of another network.
    MinissrError
        If h5py isn't installed.
    """
    data = read_bytes(Path(path))
    h5py = import_h5py()
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            arrays, left_out = weights_of(file, find_arrays(h5py, file, path), path)
            layout, arrays = recognised(arrays, path)
            check_fit(layout, arrays, path)
            state = read_state(layout, arrays, path)
    except CheckpointError:
        raise
    except Exception as error:  # whatever h5py raises on a damaged file, of any kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{path} is damaged or no HDF5 file ({reason[:SHOWN]}); use another copy of it"
        ) from error
    return KerasNetwork(layout, state, left_out, hashlib.sha256(data).hexdigest())


def import_h5py() -> Any:
    """h5py, or a sentence about how to get it."""
    try:
        import h5py
    except ImportError as error:
        raise MinissrError(
            f"Keras files are read with h5py, which can't be imported ({error}); "
            "install it: python -m pip install h5py"
        ) from error
    return h5py


def read_bytes(path: Path) -> bytes:
    """The file's bytes, if it looks like HDF5 at all."""
    try:
        status = os.stat(path)  # before opening: a pipe would be waited for
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{path} is not an ordinary file; name a Keras file (.h5)")
        if status.st_size > FILE_LIMIT:
            raise CheckpointError(
                f"{path} has {status.st_size:,} bytes; a file of these networks has at most "
                f"{FILE_LIMIT:,}, so it is another one"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the name") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(f"{path} can't be read: {reason}; check its rights") from error
    if data.startswith(ZIP):
        raise CheckpointError(
            f"{path} is a Keras 3 archive; save the weights as HDF5 with Keras: "
            "model.save('weights.h5')"
        )
    if not data.startswith(SIGNATURE):
        raise CheckpointError(f"{path} is not an HDF5 file; name a Keras file (.h5)")
    return data


def find_arrays(h5py: Any, file: Any, path: Any) -> dict[str, Any]:
    """Every data set by its full name, links checked and nothing read."""
    arrays: dict[str, Any] = {}
    seen: set[Any] = set()
    groups: list[tuple[str, Any, int]] = [("", file, 0)]
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            full = f"{prefix}/{name}" if prefix else name
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                refuse(path, f"leads elsewhere from {shown(full)} ({type(link).__name__})")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                refuse(path, f"has {shown(full)} under two names")
            seen.add(address)
            if len(seen) > OBJECT_LIMIT or depth > DEPTH_LIMIT:
                refuse(path, "has more groups and arrays than any network known here")
            if isinstance(item, h5py.Group):
                groups.append((full, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                arrays[full] = item
            else:
                refuse(path, f"has {shown(full)}, which is neither group nor array")
    return arrays


def weights_of(file: Any, found: dict[str, Any], path: Any) -> tuple[dict[str, Any], int]:
    """The network's arrays by their `plain` names, and how many are an optimiser's.

    Keras' `save_weights` puts the layers at the root, `save` into a group of their own beside the
    optimiser's.
    """
    left_out = 0
    start = f"{WEIGHTS}/" if WEIGHTS in file else ""
    arrays: dict[str, Any] = {}
    for full, item in found.items():
        if start and full.startswith(f"{OPTIMIZER}/"):
            left_out += 1
            continue
        name = plain(full.removeprefix(start))
        if name in arrays:
            refuse(path, f"has {shown(full)} in two spellings")
        arrays[name] = item
    return arrays, left_out


def recognised(arrays: dict[str, Any], path: Any) -> tuple[Layout, dict[str, Any]]:
    """Which network the arrays are of, and the arrays by the names that its layout has for them.

    Raises CheckpointError naming what is there if it is none.
    """
    if candidates := alike(arrays):
        layout, names = min(candidates, key=lambda found: misfits(found[0], found[1], arrays))
        return layout, {names[name]: item for name, item in arrays.items()}
    closest = recognise(arrays)
    if closest is None:
        layers = listed(sorted({name.partition("/")[0] for name in arrays}))
        raise CheckpointError(
            f"{path} is of no network known here: "
            f"{f'its layers are {layers}' if layers else 'it holds no array'}; "
            f"what can be read is {KINDS}"
        )
    return closest, arrays


def misfits(layout: Layout, names: dict[str, str], arrays: dict[str, Any]) -> int:
    """How many arrays have another shape than in the layout that has `names` for theirs."""
    shapes = shapes_in(layout)
    return sum(item.shape != shapes[names[name]] for name, item in arrays.items())


def shapes_in(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The shape of every array of a file, by its place there."""
    state = build(**layout.model).state_dict()
    return {layout.arrays[ours]: their_shape(ours, a.shape) for ours, a in state.items()}


def check_fit(layout: Layout, arrays: dict[str, Any], path: Any) -> None:
    """Every array of the network is in the file, every array of the file in the network.

    Raises CheckpointError naming all that isn't so, in one message.
    """
    shapes = shapes_in(layout)
    trouble = [f"missing {place}" for place in shapes if place not in arrays]
    trouble += [f"unknown {shown(name)}" for name in arrays if name not in shapes]
    there = {place: arrays[place] for place in shapes if place in arrays}
    for place, item in there.items():
        if fault := fault_of(item, shapes[place]):
            trouble.append(f"{place} {fault}")
    trouble += overlaps(there)
    if trouble:
        raise CheckpointError(
            f"{path} is not a whole {layout.kind}: {listed(trouble, '; ')}; use another copy of it"
        )


def fault_of(item: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with a data set that should hold `shape` floats, or ""."""
    if item.shape != shape:
        return f"is {item.shape} instead of {shape}"
    if item.dtype.kind != "f" or item.dtype.itemsize > 8:
        return f"holds {item.dtype} instead of floats"
    settings = item.id.get_create_plist()
    if item.is_virtual or settings.get_external_count():
        return "keeps its numbers in another file"
    piece = int(np.prod(item.chunks, dtype=object)) if item.chunks else 0
    if piece * item.dtype.itemsize > CHUNK_LIMIT:
        return f"comes in pieces of {piece:,} numbers"
    if item.id.get_storage_size() == 0:
        return "was declared but never written"
    return ""


def overlaps(arrays: dict[str, Any]) -> list[str]:
    """Arrays that share bytes of the file, as a damaged address makes them."""
    places = []
    for name, item in arrays.items():
        start = item.id.get_offset()  # None where it isn't in one piece
        if start is not None:
            places.append((start, start + item.id.get_storage_size(), name))
    places.sort()
    return [
        f"{name} shares bytes with {before}"
        for (_, end, before), (start, _, name) in itertools.pairwise(places)
        if start < end
    ]


def read_state(layout: Layout, arrays: dict[str, Any], path: Any) -> dict[str, np.ndarray]:
    """The numbers, under our names; refuses what no training leaves behind."""
    state: dict[str, np.ndarray] = {}
    trouble = []
    for ours, theirs in layout.arrays.items():
        with np.errstate(over="ignore"):
            array = np.asarray(arrays[theirs][...]).astype(np.float32)
        if what := fault(ours, array):
            trouble.append(f"{theirs} has {what}")
        state[ours] = to_ours(ours, array)
    if trouble:
        raise CheckpointError(f"{path} is damaged: {listed(trouble, '; ')}; use another copy of it")
    return state


def refuse(path: Any, what: str) -> NoReturn:
    raise CheckpointError(f"{path} {what}, which no network's file does; it is not read")


def listed(words: list[str], between: str = ", ") -> str:
    """All of them, or the first of very many and their number."""
    more = f"{between}and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return between.join(map(shown, words[:SHOWN])) + more


def shown(name: str) -> str:
    """A name from a file, cut short and without what would move the cursor."""
    name = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."

    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
