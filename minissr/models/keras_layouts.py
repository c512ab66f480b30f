"""The authors' names for the weights of their networks, and ours for the same.

A Keras file names an array `layer/weight/kernel:0`: the group of the layer in the model, then the
weight's own name. In a model that holds another one (MobileNet and DenseNet under their heads) the
group is that of the inner model. Keras 3 leaves out the `:0`, and calls a depthwise kernel just
`kernel`; both spellings are taken for the same.

Keras counts the layers of a kind that a program builds, so a program's second network begins at,
say, `conv2d_15`; TensorFlow counts `conv2d`, `conv2d_1`. Files of one network have the same names
but for where the counting began, and for what their inner model is called.

Kernels are (KH, KW, C, CO) and dense weights (in, out), as ours. A depthwise kernel is
(KH, KW, C, 1) there and (KH, KW, 1, C) here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minissr.models import densenet, mobilenet

LEAVES = {"w": "kernel", "b": "bias"}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
ALPHAS = (0.25, 0.5, 0.75, 1.0)  # of the MobileNets that Keras has; 0.25 and 0.5 are published
DEPTHS = range(7, 41, 3)  # of the DenseNets; 13 and 19 are published
COUNTED = re.compile("(conv2d|batch_normalization|dense)(?:_([0-9]{1,9}))?")  # a layer's name
INNER = "*"  # an inner model by any name


@dataclass(frozen=True)
class Layout:
    """One kind of file.

    Attributes
    ----------
    kind : str
        In words.
    model : dict
        The settings from which `registry.build` makes the network.
    arrays : dict of str to str
        Our name of every array -> its place in the file, without the `:0`.
    tells : "age" | "gender"
        What the network's answer is.
    """

    kind: str
    model: dict[str, Any]
    arrays: dict[str, str] = field(repr=False)
    tells: str = "age"


def ssrnet(age: str) -> dict[str, str]:
    """SSR-Net of three stages; `age` is "age_" in the networks for age, "" in those for gender."""
    layers = {}
    for i in range(1, 5):
        for stream, offset in (("x", 0), ("s", 4)):
            block = f"streams.{stream}.{i - 1}"
            layers[f"{block}.conv"] = f"conv2d_{i + offset}"
            layers[f"{block}.norm"] = f"batch_normalization_{i + offset}"
    for k in range(1, 4):
        stage = f"stages.{k - 1}"
        layers[f"{stage}.conv_s"] = f"conv2d_{2 * k + 7}"
        layers[f"{stage}.conv_x"] = f"conv2d_{2 * k + 8}"
        layers[f"{stage}.delta"] = f"delta_s{k}"
        for i, layer in enumerate(("s", "x", "mix")):
            layers[f"{stage}.prediction.{layer}"] = f"dense_{3 * k - 2 + i}"
        layers[f"{stage}.prediction.p"] = f"pred_{age}stage{k}"
        layers[f"{stage}.prediction.eta"] = f"local_delta_stage{k}"
    return named({ours: f"{theirs}/{theirs}" for ours, theirs in layers.items()})


def mobilenet_arrays(alpha: float) -> dict[str, str]:
    """MobileNet; Keras names the inner model by alpha and the images' size."""
    inner = f"mobilenet_{alpha:.2f}_64"
    layers = {"first.conv": f"{inner}/conv1", "first.norm": f"{inner}/conv1_bn"}
    for i in range(len(mobilenet.BLOCKS)):
        for ours, theirs in (("depthwise", "dw"), ("pointwise", "pw")):
            layers[f"blocks.{i}.{ours}.conv"] = f"{inner}/conv_{theirs}_{i + 1}"
            layers[f"blocks.{i}.{ours}.norm"] = f"{inner}/conv_{theirs}_{i + 1}_bn"
    head = {"compact": "conv2d_1", "feature": "feat_a", "age": "pred_a"}
    return named(layers, without_bias=True) | named({o: f"{t}/{t}" for o, t in head.items()})


def densenet_arrays(depth: int) -> dict[str, str]:
    """DenseNet: its convolutions and its batch norms, counted in the order they are computed."""
    layers = {"first": "densenet/conv2d_1"}
    count = 0
    for b in range(densenet.BLOCKS):
        parts = [f"blocks.{b}.layers.{i}" for i in range((depth - 4) // densenet.BLOCKS)]
        if b < densenet.BLOCKS - 1:
            parts.append(f"transitions.{b}")
        for part in parts:
            count += 1
            layers[f"{part}.norm"] = f"densenet/batch_normalization_{count}"
            layers[f"{part}.conv"] = f"densenet/conv2d_{count + 1}"
    layers["norm"] = f"densenet/batch_normalization_{count + 1}"
    head = {"hidden": "dense_1", "feature": "feat_a", "age": "pred_a"}
    return named(layers, without_bias=True) | named({o: f"{t}/{t}" for o, t in head.items()})


def named(layers: dict[str, str], without_bias: bool = False) -> dict[str, str]:
    """Our layers -> theirs, as our arrays -> theirs."""
    arrays: dict[str, str] = {}
    for ours, theirs in layers.items():
        if ours.rpartition(".")[2] == "norm":
            arrays |= {f"{ours}.{leaf}": f"{theirs}/{leaf}" for leaf in NORM}
        else:
            leaves = ("w",) if without_bias else ("w", "b")
            arrays |= {f"{ours}.{leaf}": f"{theirs}/{LEAVES[leaf]}" for leaf in leaves}
    return arrays


def _ssrnets() -> Iterable[Layout]:
    model = {"name": "ssrnet", "variant": "released"}
    yield Layout("SSR-Net for age", model, ssrnet("age_"))
    yield Layout("SSR-Net for gender", {**model, "max_age": 1.0}, ssrnet(""), "gender")


def _mobilenets() -> Iterable[Layout]:
    for alpha in ALPHAS:
        model = {"name": "mobilenet", "alpha": alpha}
        yield Layout(f"MobileNet, alpha {alpha:g}", model, mobilenet_arrays(alpha))


def _densenets() -> Iterable[Layout]:
    for depth in DEPTHS:
        model = {"name": "densenet", "depth": depth}
        yield Layout(f"DenseNet, depth {depth}", model, densenet_arrays(depth))


FAMILIES: tuple[Callable[[], Iterable[Layout]], ...] = (_ssrnets, _mobilenets, _densenets)
KINDS = "SSR-Net for age or gender, MobileNet and DenseNet of its authors"


def plain(name: str) -> str:
    """A place in a file in the spelling of the layouts."""
    name = name.removesuffix(":0")
    layer, _, leaf = name.rpartition("/")
    if leaf == "depthwise_kernel":
        leaf = "kernel"
    return f"{layer}/{leaf}"


def every_layout() -> list[Layout]:
    """All kinds of files."""
    return [layout for family in FAMILIES for layout in family()]


def recognise(names: Collection[str]) -> Layout | None:
    """The layout that most of the names are of, or None if half of a network isn't there.

    Parameters
    ----------
    names : collection of str
        The places of all arrays of a file, in the spelling of `plain`.
    """
    there = set(names)
    layouts = every_layout()
    best = min(layouts, key=lambda layout: len(there.symmetric_difference(layout.arrays.values())))
    shared = there.intersection(best.arrays.values())
    return best if 2 * len(shared) >= len(best.arrays) else None


def alike(names: Collection[str]) -> list[tuple[Layout, dict[str, str]]]:
    """The layouts with these names, wherever counting began and whatever the inner model is called.

    Each with its own name for each of the file's. MobileNets differ in nothing else, so there are
    several of them.
    """
    there = uncounted(names)
    if len(there) < len(names):  # as `conv2d` and `conv2d_0` together
        return []
    found = []
    for layout in every_layout():
        theirs = uncounted(layout.arrays.values())
        if theirs.keys() == there.keys():
            found.append((layout, {there[key]: theirs[key] for key in there}))
    return found


def uncounted(names: Collection[str]) -> dict[str, str]:
    """The names as if each kind of layer were counted from 1 -> the names."""
    first: dict[str, int] = {}
    for name in names:
        for layer in name.split("/")[:-1]:
            if found := COUNTED.fullmatch(layer):
                first[found[1]] = min(int(found[2] or 0), first.get(found[1], 10**9))

    def recounted(layer: str) -> str:
        found = COUNTED.fullmatch(layer)
        return f"{found[1]}_{int(found[2] or 0) - first[found[1]] + 1}" if found else layer

    same = {}
    for name in names:
        *layers, leaf = name.split("/")
        if len(layers) == 2 and layers[0] != layers[1]:
            layers[0] = INNER
        same["/".join([*map(recounted, layers), leaf])] = name
    return same


def to_ours(name: str, array: np.ndarray) -> np.ndarray:
    """An array of theirs in the order of axes of ours, under our name `name`."""
    return array.transpose(0, 1, 3, 2).copy() if is_depthwise(name) else array


def their_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that our array `name` of this shape has in their file."""
    return (*shape[:2], shape[3], shape[2]) if is_depthwise(name) else shape


def is_depthwise(name: str) -> bool:
    """Whether our name is that of a depthwise kernel."""
    return name.endswith("depthwise.conv.w")
