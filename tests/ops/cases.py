"""Inputs on which each op's gradient is checked: a hypothesis strategy for every `Function`.

Hypothesis draws shapes, settings and a seed; the numbers come from the seed. Where an op has a
kink, the numbers stay away from it by construction (by far more than the step of a difference),
and the kink itself has an exact test beside the op. Everything is float64.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import minissr.ops
from minissr.autograd.function import Function
from minissr.kernels.batch_norm.numpy_ref import batch_norm_train_forward
from minissr.kernels.conv2d.numpy_ref import conv2d_forward
from minissr.ops.activation import (
    Dropout,
    LeakyRelu,
    LogSoftmax,
    Relu,
    Relu6,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from minissr.ops.arrange import Cast, Concat, Index, Mean, Reshape, Sum, Transpose
from minissr.ops.basic import (
    Absolute,
    Add,
    Clip,
    Divide,
    Exp,
    Log,
    Multiply,
    Negate,
    Power,
    Subtract,
)
from minissr.ops.block import Block, Stem
from minissr.ops.conv import Conv2d
from minissr.ops.fuse import Fusion
from minissr.ops.linear import Dense, MatMul
from minissr.ops.loss import (
    BinaryCrossEntropy,
    CrossEntropy,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
)
from minissr.ops.norm import BatchNormEval, BatchNormTrain
from minissr.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from minissr.ops.stagewise import SoftStagewiseRegression

STREAM_PARAMETERS = ("w", "bias", "gamma", "beta")

CLEAR = 0.01  # how far inputs stay from a kink, and equal things apart: 1000 steps


# Tensor inputs of the ops that take any number of them, as many as the cases give.
VARIADIC: dict[type[Function], list[str]] = {
    Concat: ["first", "second"],
    Stem: [f"{stream}_{name}" for stream in ("relu", "tanh") for name in STREAM_PARAMETERS],
}

# Inputs that never get a gradient.
CONSTANT = {(Stem, "images")}


@dataclass(frozen=True)
class Case:
    """One call of an op: arrays (None for an optional input left out) and keyword settings."""

    inputs: tuple[np.ndarray | None, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None  # for ops that draw: a fresh generator for every call

    def call(self, op: type[Function]) -> Callable[..., Any]:
        """The op as a function of its tensors, the same each time."""
        names = input_names(op)

        def apply(*tensors: Any) -> Any:
            drawn = {} if self.seed is None else {"rng": np.random.default_rng(self.seed)}
            return op.apply(*tensors, **self.settings, **drawn)

        apply.__name__ = op.__name__
        parameter = inspect.Parameter
        apply.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        return apply


def every_op() -> list[type[Function]]:
    """All ops there are: the subclasses of Function once every module of minissr.ops is in."""
    for module in pkgutil.iter_modules(minissr.ops.__path__):
        importlib.import_module(f"minissr.ops.{module.name}")
    ops = [op for op in Function.__subclasses__() if op.__module__.startswith("minissr.")]
    return sorted(ops, key=lambda op: op.__name__)


def input_names(op: type[Function]) -> list[str]:
    """The positional arguments of an op's forward, which are its tensor inputs."""
    _ctx, *parameters = inspect.signature(op.forward).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return names + VARIADIC.get(op, [])


# ---- numbers ----------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 4)


def dodge(x: np.ndarray, *kinks: float) -> np.ndarray:
    """Move the numbers that are within CLEAR of a kink to the far side of it."""
    for kink in kinks:
        x = np.where(abs(x - kink) < CLEAR, kink + np.where(x < kink, -2, 2) * CLEAR, x)
    return x


def spaced(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in random order of which no two are closer than CLEAR, nor any to 0."""
    count = int(np.prod(shape))
    steps = np.arange(count) - count / 2 + 0.5 + rng.uniform(-0.2, 0.2, count)
    return rng.permutation(steps * 2 * CLEAR).reshape(shape)


def away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of either sign with sizes from 0.5 to 2."""
    return np.asarray(rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape))


@st.composite
def orders(draw: st.DrawFn) -> Callable[[np.ndarray], np.ndarray]:
    """C or Fortran order: ops have to accept both."""
    return np.asfortranarray if draw(st.booleans()) else np.ascontiguousarray


@st.composite
def shapes(draw: st.DrawFn, fewest: int = 1, most: int = 4) -> tuple[int, ...]:
    return tuple(draw(st.lists(lengths, min_size=fewest, max_size=most)))


# ---- pointwise, arithmetic, reductions --------------------------------------------------------


@st.composite
def pointwise(
    draw: st.DrawFn,
    *kinks: float,
    low: float = -3.0,
    high: float = 3.0,
    **settings: st.SearchStrategy[Any],
) -> Case:
    shape, order = draw(shapes()), draw(orders())
    x = np.random.default_rng(draw(seeds)).uniform(low, high, shape)
    drawn = {name: draw(strategy) for name, strategy in settings.items()}
    return Case((order(dodge(x, *kinks)),), drawn)


@st.composite
def broadcasting(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    sides = []
    for _ in range(2):
        stretched = [1 if draw(st.booleans()) else n for n in shape]
        sides.append(tuple(stretched[draw(st.integers(0, len(shape))) :]))
    rng = np.random.default_rng(draw(seeds))
    return Case((away_from_zero(rng, sides[0]), away_from_zero(rng, sides[1])))


@st.composite
def clips(draw: st.DrawFn) -> Case:
    low, high = draw(st.sampled_from([(-1.0, 1.0), (None, 0.5), (-0.5, None), (1.0, -1.0)]))
    case = draw(pointwise(*(limit for limit in (low, high) if limit is not None)))
    return Case(case.inputs, {"low": low, "high": high})


@st.composite
def powers(draw: st.DrawFn) -> Case:
    exponent = draw(st.sampled_from([0, 1, 2, 3, -1, 0.5, -1.5]))
    return Case(draw(pointwise(low=0.5, high=2.0)).inputs, {"exponent": exponent})


@st.composite
def reductions(draw: st.DrawFn) -> Case:
    shape = draw(shapes())
    axes = st.integers(-len(shape), len(shape) - 1)
    several = st.permutations(range(len(shape))).map(lambda a: tuple(a[: len(a) // 2 + 1]))
    settings = {"axis": draw(st.none() | axes | several), "keepdims": draw(st.booleans())}
    return Case((np.random.default_rng(draw(seeds)).standard_normal(shape),), settings)


@st.composite
def matrices(draw: st.DrawFn) -> Case:
    i, j, o = draw(lengths), draw(lengths), draw(lengths)
    batch = draw(shapes(fewest=0, most=2))
    a_shape = draw(st.sampled_from([(j,), (i, j), (*batch, i, j), (*batch[1:], i, j)]))
    b_shape = draw(st.sampled_from([(j,), (j, o), (*batch, j, o), (*(1 for _ in batch), j, o)]))
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    return Case((order(rng.standard_normal(a_shape)), order(rng.standard_normal(b_shape))))


@st.composite
def dense_layers(draw: st.DrawFn) -> Case:
    n, i, o = draw(lengths), draw(lengths), draw(lengths)
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    x, w, b = rng.standard_normal((n, i)), rng.standard_normal((i, o)), rng.standard_normal(o)
    return Case((order(x), order(w), b if draw(st.booleans()) else None))


@st.composite
def reshapes(draw: st.DrawFn) -> Case:
    case = draw(pointwise())
    shape = draw(st.permutations(case.inputs[0].shape).map(tuple) | st.just((-1,)))
    return Case(case.inputs, {"shape": shape})


@st.composite
def transposes(draw: st.DrawFn) -> Case:
    case = draw(pointwise())
    axes = st.permutations(range(case.inputs[0].ndim)).map(tuple)
    return Case(case.inputs, {"axes": draw(st.none() | axes)})


@st.composite
def indices(draw: st.DrawFn) -> Case:
    keys = [1, -1, slice(1, 3), (..., 0), (0, 2), (slice(None), None, 1), (slice(None, None, -2),)]
    picking = [np.array([0, 2, 2, 0]), (np.array([0, 1, 1]), np.array([3, 2, 2])), [1, 1]]
    mask = np.arange(12).reshape(3, 4) % 3 == 0
    key = draw(st.sampled_from([*keys, *picking, mask]))
    return Case((np.random.default_rng(draw(seeds)).standard_normal((3, 4)),), {"key": key})


@st.composite
def concatenations(draw: st.DrawFn) -> Case:
    shape = list(draw(shapes()))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    rng, parts = np.random.default_rng(draw(seeds)), []
    for _ in range(2):
        shape[axis] = draw(lengths)
        parts.append(rng.standard_normal(shape))
    return Case(tuple(parts), {"axis": axis})


@st.composite
def along_an_axis(draw: st.DrawFn) -> Case:
    case = draw(pointwise())
    return Case(case.inputs, {"axis": draw(st.integers(-1, case.inputs[0].ndim - 1))})


@st.composite
def dropouts(draw: st.DrawFn) -> Case:
    rate = draw(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
    return Case(draw(pointwise()).inputs, {"rate": rate}, seed=draw(seeds))


# ---- images -----------------------------------------------------------------------------------


@st.composite
def windows(draw: st.DrawFn, padded_inside: bool) -> tuple[tuple[int, int], dict[str, Any]]:
    """Height and width of an image, and a window that fits it: size, stride, padding."""
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride = draw(st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    most = min(kh, kw) - 1 if padded_inside else 2
    padding = draw(
        st.sampled_from(["valid", "same"])
        | st.integers(0, most)
        | st.tuples(*[st.integers(0, most)] * 2)
        | st.tuples(*[st.integers(0, most)] * 4)
    )
    image = draw(st.integers(kh, 6)), draw(st.integers(kw, 6))
    return image, {"size": (kh, kw), "stride": stride, "padding": padding}


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    image, settings = draw(windows(padded_inside=False))
    kh, kw = settings.pop("size")
    groups = draw(st.integers(1, 3))
    c, co = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    x = rng.standard_normal((draw(st.integers(1, 2)), *image, c))
    w = rng.standard_normal((kh, kw, c // groups, co))
    b = rng.standard_normal(co) if draw(st.booleans()) else None
    return Case((order(x), order(w), b), {**settings, "groups": groups})


@st.composite
def pools(draw: st.DrawFn, **more: st.SearchStrategy[Any]) -> Case:
    image, settings = draw(windows(padded_inside=True))
    if draw(st.booleans()):
        settings["stride"] = None
    shape = (draw(st.integers(1, 2)), *image, draw(st.integers(1, 3)))
    x = spaced(np.random.default_rng(draw(seeds)), shape)
    drawn = {name: draw(strategy) for name, strategy in more.items()}
    return Case((draw(orders())(x),), {**settings, **drawn})


@st.composite
def maps(draw: st.DrawFn) -> Case:
    shape = draw(shapes(fewest=4, most=4))
    return Case((draw(orders())(np.random.default_rng(draw(seeds)).standard_normal(shape)),))


@st.composite
def batch_norms(draw: st.DrawFn, train: bool) -> Case:
    shape = draw(shapes(fewest=1, most=3))
    shape = (shape[0] + 2 if train else shape[0], *shape[1:], draw(lengths))
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    c = shape[-1]
    x = rng.standard_normal((max(np.prod(shape[:-1]), 1), c))
    if train:  # a few values of a channel may lie close together, and 1 / deviation bends sharply
        x = (x - x.mean(axis=0)) / x.std(axis=0) * rng.uniform(0.5, 2, c)
    x = (x + rng.uniform(-5, 5, c)).reshape(shape)
    gamma, beta = away_from_zero(rng, (c,)), rng.standard_normal(c)
    settings: dict[str, Any] = {"eps": draw(st.sampled_from([1e-3, 1e-5, 0.5]))}
    if not train:
        settings.update(mean=rng.standard_normal(c), var=rng.uniform(0.1, 3, c))
    return Case((order(x), gamma, beta), settings)


class Images:
    """What blocks and stems are drawn from, until no map is near a kink."""

    def __init__(self, rng: np.random.Generator, kernel: int) -> None:
        self.rng, self.kernel = rng, kernel

    def pixels(self, n: int, side: int, c: int) -> np.ndarray:
        return self.rng.integers(0, 256, (n, side, side, c), np.uint8)

    def parameters(self, c: int, co: int) -> list[np.ndarray]:
        """w, bias, gamma, beta.

        Batch norm takes the size of w away again. So w has two weights at least, or its gradient
        would be what rounding leaves of 0, and none near 0, where y turns within a step.
        """
        rng = self.rng
        w = away_from_zero(rng, (self.kernel, self.kernel, c, co))
        return [w, rng.standard_normal(co), rng.uniform(0.5, 2, co), rng.standard_normal(co)]

    def near_kink(
        self, x: np.ndarray, parameters: list[np.ndarray], activation: str, pool: str
    ) -> bool:
        """Whether a normalised value is close to the ReLU's kink or to tying with another."""
        w, bias, gamma, beta = parameters
        conv = conv2d_forward(x.astype(w.dtype), w, bias, (1, 1), (0, 0, 0, 0), 1)
        normed = batch_norm_train_forward(conv, gamma, beta, 1e-3)[0]
        if activation == "relu" and abs(normed).min() < CLEAR / 10:
            return True
        return pool == "max" and closest_in_windows(normed, 2, activation) < CLEAR / 10


@st.composite
def blocks(draw: st.DrawFn) -> Case:
    """Small blocks of any kind, and some as wide as those that are fused."""
    wide = draw(st.booleans())
    kernel, side = draw(st.sampled_from([3, 3, 1, 2])), draw(st.integers(4, 5 if wide else 7))
    c, co = (16, 16) if wide else (draw(st.integers(2, 3)), draw(st.integers(1, 4)))
    n, pixels = draw(st.integers(2, 3)), draw(st.booleans())
    activation = draw(st.sampled_from(["relu", "tanh"]))
    pool = draw(st.sampled_from(["avg", "max", "none"]))
    images = Images(np.random.default_rng(draw(seeds)), kernel)
    while True:
        x = images.pixels(n, side, c) if pixels else images.rng.standard_normal((n, side, side, c))
        parameters = images.parameters(c, co)
        if not images.near_kink(x, parameters, activation, pool):
            settings = {"eps": 1e-3, "activation": activation, "pool": pool}
            return Case((x, *parameters), settings)


@st.composite
def stems(draw: st.DrawFn) -> Case:
    """Small stems of any kind, and some as wide as those that are fused."""
    wide = draw(st.booleans())
    kernel, side = 3 if wide else draw(st.integers(1, 3)), draw(st.integers(4, 7))
    c, relu, tanh = (3, 16, 32) if wide else [draw(st.integers(2, 4)) for _ in range(3)]
    n, images = draw(st.integers(2, 3)), Images(np.random.default_rng(draw(seeds)), kernel)
    unit, offset = draw(st.sampled_from([(1.0, 0.0), (1 / 127.5, -1.0)]))
    while True:
        x = images.pixels(n, side, c)
        first, second = images.parameters(c, relu), images.parameters(c, tanh)
        seen = x * unit + offset
        if not (
            images.near_kink(seen, first, "relu", "avg")
            or images.near_kink(seen, second, "tanh", "max")
        ):
            return Case((x, *first, *second), {"unit": unit, "offset": offset, "eps": 1e-3})


def closest_in_windows(values: np.ndarray, size: int, activation: str) -> float:
    """How close the two largest values of a window come, where they decide anything."""
    n, h, w, c = values.shape
    h, w = h // size, w // size
    cut = values[:, : h * size, : w * size].reshape(n, h, size, w, size, c)
    ranked = np.sort(cut.transpose(0, 1, 3, 5, 2, 4).reshape(-1, size * size))
    if size == 1:
        return np.inf
    gaps = ranked[:, -1] - ranked[:, -2]
    if activation == "relu":
        gaps = gaps[ranked[:, -1] > 0]  # all below 0: the maximum is a flat 0
    return gaps.min(initial=np.inf)


@st.composite
def fusions(draw: st.DrawFn) -> Case:
    """Small ones of any kind, and some with the network's channels."""
    wide, pool = draw(st.booleans()), draw(st.sampled_from(["avg", "max"]))
    c, co = (16, 10) if wide else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    h, w_, size = draw(st.integers(2, 5)), draw(st.integers(2, 5)), draw(st.integers(1, 2))
    rng, n = np.random.default_rng(draw(seeds)), draw(st.integers(1, 2))
    while True:
        x, w = rng.standard_normal((n, h, w_, c)), rng.standard_normal((1, 1, c, co))
        bias = rng.standard_normal(co)
        values = conv2d_forward(x, w, bias, (1, 1), (0, 0, 0, 0), 1)
        near_tie = pool == "max" and closest_in_windows(values, size, "relu") < CLEAR / 10
        if abs(values).min() > CLEAR / 10 and not near_tie:
            return Case((x, w, bias), {"pool": pool, "size": size})


# ---- losses and stages ------------------------------------------------------------------------


@st.composite
def regressions(draw: st.DrawFn) -> Case:
    shape, rng = draw(shapes(most=2)), np.random.default_rng(draw(seeds))
    target = rng.uniform(0, 100, shape)
    return Case((target + dodge(rng.standard_normal(shape), 0),), {"target": target})


@st.composite
def classifications(draw: st.DrawFn, soft_only: bool) -> Case:
    n, s = draw(lengths), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(seeds))
    if not soft_only and draw(st.booleans()):
        target = rng.integers(0, s, n)
    else:
        target = rng.dirichlet(np.ones(s), n)
        target[0, 0] = 0.0  # where 0 ln 0 has to be 0; the row needn't add up to 1
    return Case((2 * rng.standard_normal((n, s)),), {"target": target})


@st.composite
def ordinal_tasks(draw: st.DrawFn) -> Case:
    shape, rng = draw(shapes(most=3)), np.random.default_rng(draw(seeds))
    target = rng.uniform(0, 1, shape) if draw(st.booleans()) else rng.integers(0, 2, shape)
    weight = rng.uniform(0.5, 2, shape[-1]) if draw(st.booleans()) else None
    return Case((2 * rng.standard_normal(shape),), {"target": target, "weight": weight})


@st.composite
def stage_outputs(draw: st.DrawFn) -> Case:
    """K from 1 to 5 stages of unequal numbers of bins; the floor off, out of reach or at work."""
    stages = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=5)))
    n, bins = draw(st.integers(1, 4)), sum(stages)
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    c_delta, c_eta = draw(st.sampled_from([1.0, 0.5, 0.0])), draw(st.sampled_from([1.0, 0.25, 0.0]))
    floor = draw(st.sampled_from([1e-3, 0.0, 0.4]))
    delta = rng.uniform(-0.8, 0.9, (n, len(stages)))
    if c_delta and floor:
        delta = dodge(delta, (floor - 1) / c_delta)
    p = rng.uniform(0, 1, (n, bins)) if draw(st.booleans()) else rng.exponential(1, (n, bins))
    settings = {
        "stages": stages,
        "min_age": draw(st.sampled_from([0.0, 16.0, -3.5])),
        "max_age": draw(st.sampled_from([101.0, 90.0, 60.5])),
        "c_delta": c_delta,
        "c_eta": c_eta,
        "floor": floor,
    }
    return Case((order(p), order(rng.uniform(-1, 1, (n, bins))), order(delta)), settings)


CASES: dict[type[Function], st.SearchStrategy[Case]] = {
    Add: broadcasting(),
    Subtract: broadcasting(),
    Multiply: broadcasting(),
    Divide: broadcasting(),
    Negate: pointwise(),
    Power: powers(),
    Exp: pointwise(),
    Log: pointwise(low=0.2),
    Absolute: pointwise(0.0),
    Clip: clips(),
    MatMul: matrices(),
    Dense: dense_layers(),
    Sum: reductions(),
    Mean: reductions(),
    Reshape: reshapes(),
    Transpose: transposes(),
    Index: indices(),
    Concat: concatenations(),
    Cast: pointwise(dtype=st.just(np.dtype(np.float64))),
    Relu: pointwise(0.0),
    Relu6: pointwise(0.0, 6.0, high=9.0),
    LeakyRelu: pointwise(0.0, slope=st.sampled_from([0.01, 0.3, 0.0, -0.5])),
    Tanh: pointwise(),
    Sigmoid: pointwise(),
    Softplus: pointwise(),
    Softmax: along_an_axis(),
    LogSoftmax: along_an_axis(),
    Dropout: dropouts(),
    Conv2d: convolutions(),
    MaxPool: pools(),
    AvgPool: pools(count_include_pad=st.booleans()),
    GlobalAvgPool: maps(),
    BatchNormTrain: batch_norms(train=True),
    BatchNormEval: batch_norms(train=False),
    Block: blocks(),
    Stem: stems(),
    Fusion: fusions(),
    MeanAbsoluteError: regressions(),
    MeanSquaredError: regressions(),
    CrossEntropy: classifications(soft_only=False),
    KLDivergence: classifications(soft_only=True),
    BinaryCrossEntropy: ordinal_tasks(),
    SoftStagewiseRegression: stage_outputs(),
}
