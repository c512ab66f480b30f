"""The authors' names and files, for the tests that use them; and files of the same layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minissr.models import keras_files
from minissr.models.keras_layouts import Layout, is_depthwise, ssrnet, their_shape
from minissr.models.registry import build


def keras_names(model: Any, age: str = "age_") -> dict[str, str]:
    """Our name of every array of `model` -> theirs, as `layer/array`."""
    assert set(ssrnet(age)) == set(model.state_dict())
    return {ours: theirs.partition("/")[2] for ours, theirs in ssrnet(age).items()}


def read_keras(path: Path, model: Any, age: str = "age_") -> dict[str, np.ndarray]:
    """The arrays of a released .h5 under our names."""
    state = keras_files.read_keras(path).state
    assert set(state) == set(model.state_dict())
    return state


def random_state(layout: Layout, seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers as a trained network could have, under our names: no two arrays alike."""
    rng = np.random.default_rng(seed)
    state = build(**layout.model, rng=rng).state_dict()
    for name, array in state.items():
        if name.endswith(("gamma", "moving_variance")):
            state[name] = rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
        elif array.ndim == 1:
            state[name] = rng.normal(0, 0.1, array.shape).astype(np.float32)
    return state


def keras_arrays(layout: Layout, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same as Keras 2 would name and arrange it: full name in the file -> array."""
    arrays = {}
    for ours, theirs in layout.arrays.items():
        array = state[ours]
        if is_depthwise(ours):
            theirs = theirs.removesuffix("kernel") + "depthwise_kernel"
            array = array.reshape(their_shape(ours, array.shape))  # an axis of length 1 moves
        arrays[f"{theirs}:0"] = array
    return arrays


def write_keras(path: Path, arrays: Mapping[str, np.ndarray], flavour: str = "weights") -> None:
    """A file as Keras' `save_weights` ("weights") or `save` ("model") lays it out."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if flavour == "model" else file
        for name in ("input_1", "dropout_1"):  # layers without weights have empty groups
            root.create_group(name).attrs["weight_names"] = np.array([], "S1")
        for name, array in arrays.items():
            root.create_dataset(name, data=array)
        layers = sorted({name.partition("/")[0] for name in arrays})
        root.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
        root.attrs["keras_version"] = b"2.0.6"
        if flavour == "model":
            file.attrs["model_config"] = b"{}"
            file["optimizer_weights/Adam/iterations:0"] = np.int64(7)
            file["optimizer_weights/training/Adam/m_0:0"] = np.zeros((3, 3), np.float32)
