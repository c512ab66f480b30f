"""The authors' names for SSR-Net's weights, and their files as a state of ours."""

import numpy as np

LEAVES = {"w": "kernel", "b": "bias"}


def keras_layers(age="age_"):
    """Our layer -> theirs, in ssrnet with three stages; `age` is "" in the gender networks."""
    names = {}
    for i in range(1, 5):
        for stream, offset in (("x", 0), ("s", 4)):
            block = f"streams.{stream}.{i - 1}"
            names[f"{block}.conv"] = f"conv2d_{i + offset}"
            names[f"{block}.norm"] = f"batch_normalization_{i + offset}"
    for k in range(1, 4):
        stage = f"stages.{k - 1}"
        names[f"{stage}.conv_s"] = f"conv2d_{2 * k + 7}"
        names[f"{stage}.conv_x"] = f"conv2d_{2 * k + 8}"
        names[f"{stage}.delta"] = f"delta_s{k}"
        for i, layer in enumerate(("s", "x", "mix")):
            names[f"{stage}.prediction.{layer}"] = f"dense_{3 * k - 2 + i}"
        names[f"{stage}.prediction.p"] = f"pred_{age}stage{k}"
        names[f"{stage}.prediction.eta"] = f"local_delta_stage{k}"
    return names


def keras_names(model, age="age_"):
    """Our name of every array -> theirs, as `layer/array`."""
    layers = keras_layers(age)
    names = {}
    for name in model.state_dict():
        layer, _, leaf = name.rpartition(".")
        names[name] = f"{layers[layer]}/{LEAVES.get(leaf, leaf)}"
    return names


def read_keras(path, model, age="age_"):
    """The arrays of a released .h5 under our names; every dataset of the file must be used."""
    import h5py

    with h5py.File(path) as file:
        there = {}
        file.visititems(
            lambda name, item: there.update({name: item[...]}) if hasattr(item, "shape") else None
        )
    state = {}
    for ours, theirs in keras_names(model, age).items():
        layer, _, leaf = theirs.partition("/")
        state[ours] = there.pop(f"{layer}/{layer}/{leaf}:0")
    assert not there, f"arrays of the file that have no place: {sorted(there)}"
    return {name: np.asarray(array) for name, array in state.items()}
