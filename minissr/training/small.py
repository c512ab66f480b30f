"""A network in a quarter or half of its bytes, for devices where that counts.

The file is a checkpoint like any other (see `checkpoint`), so `load`, `predict` and `evaluate` open
it; only its arrays are coarser. Arrays of two or more axes, the weights of convolutions and dense
layers, are rounded; those of one axis (biases and batch norm) are few and stay float32.

    float16    `model/NAME` is float16
    int8       `model/NAME` is int8, from -127 to 127, and `scale/NAME` float32 (channels,), one for
               each index of the last axis, the output channel: weight = int8 * scale

The largest weight of a channel is 127 scales. Weights aren't rounded each to the nearest, but so
that the errors of a window's taps add up to nothing: pixels and maps are bright all over, so it is
the sum that an error shows in. A weight may be off by a scale for it instead of half of one, 1/127
of the largest of its channel. The ages of the authors' weights for MegaAge-Asian then move by
0.28 years on average instead of 1.58.

Decoding takes nothing but NumPy, or ten lines of any language:

    import json, numpy as np
    data = open("small.safetensors", "rb").read()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    about = json.loads(header.pop("__metadata__")["minissr"])
    kinds = {"I8": np.int8, "F16": np.float16, "F32": np.float32}
    arrays = {name: np.frombuffer(data[start:], kinds[a["dtype"]], np.prod(a["shape"], dtype=int),
                                  a["data_offsets"][0]).reshape(a["shape"])
              for name, a in header.items()}
    weights = {name[6:]: array * arrays.get("scale/" + name[6:], np.float32(1))
               for name, array in arrays.items() if name.startswith("model/")}

`about["model"]` says which network the weights are of, `about["preprocessing"]` what it wants its
faces to be, `about["small"]` which of the two kinds this is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minissr.errors import CheckpointError, MinissrError
from minissr.nn.module import faults
from minissr.training.checkpoint import Checkpoint, pack

KINDS = ("int8", "float16")
LARGEST = 127  # of an int8 weight; -128 isn't used, so that the sign is symmetric
KEPT = ("model", "preprocessing", "licence", "scale")  # of a checkpoint's metadata
MODEL, SCALE = "model/", "scale/"


def small_file(state: Mapping[str, np.ndarray], about: Mapping[str, Any], kind: str) -> bytes:
    """The bytes of a small file.

    Parameters
    ----------
    state : mapping of str to ndarray
        Of a network: its parameters and buffers by name.
    about : mapping
        The metadata of the checkpoint it comes from; what training needs is left out.
    kind : "int8" | "float16"

    Raises
    ------
    MinissrError
        If a number is not finite, a variance below 0, or one is too large for the kind.
    """
    if kind not in KINDS:
        raise MinissrError(f"dtype {kind!r} is none of {', '.join(KINDS)}")
    arrays: dict[str, np.ndarray] = {}
    if found := faults(state):
        raise MinissrError(f"{'; '.join(found)}; train the network again")
    for name, array in state.items():
        if array.ndim < 2:
            arrays[MODEL + name] = array.astype(np.float32)
        elif kind == "float16":
            arrays[MODEL + name] = halved(name, array)
        else:
            arrays[MODEL + name], arrays[SCALE + name] = quantised(array)
    kept = {key: about[key] for key in KEPT if key in about}
    median = about.get("data", {}).get("train_median")
    return pack(arrays, {**kept, "data": {"train_median": median}, "small": kind})


def quantised(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights and their float32 scales: (..., C) -> (..., C), (C,)."""
    flat = np.abs(array.reshape(-1, array.shape[-1]).astype(np.float64))
    scale = (flat.max(axis=0, initial=0) / LARGEST).astype(np.float32)
    divisor = np.where(scale > 0, scale, 1).astype(np.float64)  # a channel of zeros stays zeros
    window = array.shape[:-2] if math.prod(array.shape[:-2]) > 1 else array.shape[:-1]
    taps = (array / divisor).reshape(math.prod(window), *array.shape[len(window) :])
    whole = np.clip(rounded(taps), -LARGEST, LARGEST).reshape(array.shape)
    return whole.astype(np.int8), scale


def rounded(x: np.ndarray) -> np.ndarray:
    """Whole numbers within 1 of `x` (T, ...) whose sums over T are off by half a unit at most."""
    whole = np.rint(x)
    lacking = x - whole
    steps = np.rint(lacking.sum(axis=0))  # so many of T go the other way, up or down
    order = lacking.argsort(axis=0, kind="stable")[::-1].argsort(axis=0)  # most lacking first
    return whole + (order < steps) - (order >= len(x) + steps)


def halved(name: str, array: np.ndarray) -> np.ndarray:
    """float16 weights."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise MinissrError(
            f"{name} has numbers beyond float16's {np.finfo(np.float16).max:g}; use --dtype int8"
        )
    return half


def expanded(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint with float32 weights; one that isn't small is given back as it is."""
    kind = checkpoint.metadata.get("small")
    if kind is None:
        return checkpoint
    if kind not in KINDS:
        raise CheckpointError(
            f"a small file of kind {kind!r}; this version reads {', '.join(KINDS)}"
        )
    scales = checkpoint.section(SCALE[:-1])
    tensors = {
        MODEL + name: array.astype(np.float32) * scales.get(name, np.float32(1))
        for name, array in checkpoint.section(MODEL[:-1]).items()
    }
    return Checkpoint(tensors, checkpoint.metadata)
