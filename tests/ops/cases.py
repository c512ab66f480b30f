"""Inputs on which each op's gradient is checked: a hypothesis strategy for every `Function`.

Hypothesis draws shapes, settings and a seed; the numbers come from the seed. Where an op has a
kink, the numbers stay away from it by construction (by far more than the step of a difference),
and the kink itself has an exact test beside the op. Everything is float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from minissr.autograd.function import Function
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
from minissr.ops.head import Head
from minissr.ops.linear import Dense, MatMul
from minissr.ops.loss import (
    REDUCTIONS,
    BinaryCrossEntropy,
    CrossEntropy,
    HuberError,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
)
from minissr.ops.norm import BatchNormEval, BatchNormTrain
from minissr.ops.pool import AvgPool, GlobalAvgPool, MaxPool
from minissr.ops.spread import NormalDivergence, StagewiseVariance
from minissr.ops.stagewise import SoftStagewiseRegression
from tests.ops.case import Case, away_from_zero, dodge, lengths, orders, seeds, shapes
from tests.ops.image_cases import (
    batch_norms,
    blocks,
    convolutions,
    fusions,
    heads,
    maps,
    pools,
    stems,
)

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


# ---- losses and stages ------------------------------------------------------------------------


@st.composite
def regressions(draw: st.DrawFn) -> Case:
    shape, rng = draw(shapes(most=2)), np.random.default_rng(draw(seeds))
    target = rng.uniform(0, 100, shape)
    return Case((target + dodge(rng.standard_normal(shape), 0),), {"target": target})


@st.composite
def classifications(draw: st.DrawFn, soft_only: bool, **more: st.SearchStrategy[Any]) -> Case:
    n, s = draw(lengths), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(seeds))
    if not soft_only and draw(st.booleans()):
        target = rng.integers(0, s, n)
    else:
        target = rng.dirichlet(np.ones(s), n)
        target[0, 0] = 0.0  # where 0 ln 0 has to be 0; the row needn't add up to 1
    drawn = {name: draw(strategy) for name, strategy in more.items()}
    return Case((2 * rng.standard_normal((n, s)),), {"target": target, **drawn})


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


@st.composite
def huber_errors(draw: st.DrawFn) -> Case:
    """Errors on both sides of delta; its second derivative jumps there, the first doesn't."""
    shape, rng = draw(shapes(most=2)), np.random.default_rng(draw(seeds))
    target, delta = rng.uniform(0, 100, shape), draw(st.sampled_from([0.5, 1.0, 4.0]))
    error = dodge(rng.standard_normal(shape) * 2, -delta, delta)
    return Case((target + error,), {"target": target, "delta": delta})


@st.composite
def normals(draw: st.DrawFn) -> Case:
    n, rng = draw(lengths), np.random.default_rng(draw(seeds))
    target = rng.uniform(0, 100, n)
    settings = {"target": target, "sigma": draw(st.sampled_from([1.0, 2.5, 10.0]))}
    return Case((target + 5 * rng.standard_normal(n), rng.exponential(9.0, n)), settings)


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
    Head: heads(),
    MeanAbsoluteError: regressions(),
    MeanSquaredError: regressions(),
    HuberError: huber_errors(),
    CrossEntropy: classifications(soft_only=False, reduction=st.sampled_from(REDUCTIONS)),
    KLDivergence: classifications(soft_only=True),
    BinaryCrossEntropy: ordinal_tasks(),
    SoftStagewiseRegression: stage_outputs(),
    StagewiseVariance: stage_outputs(),
    NormalDivergence: normals(),
}
