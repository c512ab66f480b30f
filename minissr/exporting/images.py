"""Convolution, pooling, batch norm and the stagewise formula, in ONNX."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minissr.exporting.arranging import constant_of
from minissr.exporting.graph import CHANNELS_FIRST, COLUMN, PLAIN, Graph, Shape, Value
from minissr.exporting.translate import number, translates
from minissr.ops import conv, norm, pool, stagewise
from minissr.ops.geometry import as_padding, as_pair
from minissr.ops.pool import window_geometry

RISING = ("Tanh", "Sigmoid", "Softplus")  # costly, and without further inputs


@translates(conv.Conv2d)
def conv2d(
    graph: Graph,
    shape: Shape,
    x: Value,
    w: Value,
    b: Value | None,
    *,
    stride: Any,
    padding: Any,
    groups: int,
) -> Value:
    weights = constant_of("conv2d", w)
    size = (weights.shape[0], weights.shape[1])
    stride = as_pair("conv2d", "stride", stride)
    top, bottom, left, right = as_padding("conv2d", padding, (x.shape[1], x.shape[2]), size, stride)
    turned = graph.weight(w, weights.transpose(3, 2, 0, 1))  # HWIO -> OIHW
    # A bias of zeros where there is none: a batch norm that follows is folded into it.
    bias = np.zeros(shape[3], np.float32) if b is None else constant_of("conv2d", b)
    name = f"{w.name}.bias" if b is None else b.name
    return graph.emit(
        "Conv",
        [graph.channels_first(x), turned, graph.weight(Value(name, bias.shape), bias)],
        shape,
        CHANNELS_FIRST,
        kernel_shape=list(size),
        strides=list(stride),
        pads=[top, left, bottom, right],
        group=groups,
    )


@translates(pool.MaxPool)
def max_pool(
    graph: Graph, shape: Shape, x: Value, *, size: Any, stride: Any, padding: Any
) -> Value:
    """Before an activation that only it reads: as both rise, the order makes no difference, and
    there are fewer numbers left for the activation."""
    window = pool_attributes("max_pool", x, size, stride, padding)
    rising = graph.maker(x)
    if rising is None or rising.op not in RISING or graph.uses[x.name] != 1:
        return graph.emit("MaxPool", [graph.channels_first(x)], shape, CHANNELS_FIRST, **window)
    graph.nodes.remove(rising)
    before = Value(rising.inputs[0], x.shape, x.layout)
    pooled = graph.emit("MaxPool", [graph.channels_first(before)], shape, CHANNELS_FIRST, **window)
    return graph.emit(rising.op, [pooled], shape, CHANNELS_FIRST)


@translates(pool.AvgPool)
def avg_pool(
    graph: Graph,
    shape: Shape,
    x: Value,
    *,
    size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: bool,
) -> Value:
    window = pool_attributes("avg_pool", x, size, stride, padding)
    return graph.emit(
        "AveragePool",
        [graph.channels_first(x)],
        shape,
        CHANNELS_FIRST,
        count_include_pad=int(count_include_pad),
        **window,
    )


def pool_attributes(op: str, x: Value, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """A pooling window as ONNX writes it."""
    image = np.broadcast_to(np.float32(0), x.shape)  # only its shape is looked at
    size, stride, (top, bottom, left, right) = window_geometry(op, image, size, stride, padding)
    return {
        "kernel_shape": list(size),
        "strides": list(stride),
        "pads": [top, left, bottom, right],
    }


@translates(pool.GlobalAvgPool)
def global_avg_pool(graph: Graph, shape: Shape, x: Value) -> Value:
    pooled = graph.emit("GlobalAveragePool", [graph.channels_first(x)], shape)
    return graph.emit("Flatten", [pooled], shape, axis=1)


@translates(norm.BatchNormEval)
def batch_norm(
    graph: Graph,
    shape: Shape,
    x: Value,
    gamma: Value,
    beta: Value,
    *,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
) -> Value:
    """Folded into the convolution that only it reads; a node of its own anywhere else."""
    weight, shift = (constant_of("batch_norm", v).astype(np.float64) for v in (gamma, beta))
    mean, var = (np.asarray(s, np.float64) for s in (mean, var))
    before = graph.maker(x)
    if before is not None and before.op == "Conv" and graph.uses[x.name] == 1:
        scale = weight / np.sqrt(var + eps)
        w, b = (graph.constants[name].astype(np.float64) for name in before.inputs[1:])
        folded = w * scale[:, None, None, None], (b - mean) * scale + shift
        for name, array in zip(before.inputs[1:], folded, strict=True):
            graph.constants[name] = array.astype(np.float32)
        return x
    four = len(shape) == 4
    per_channel = [array.astype(np.float32) for array in (weight, shift, mean, var)]
    return graph.emit(
        "BatchNormalization",
        [graph.channels_first(x) if four else graph.plain(x), *per_channel],
        shape,
        CHANNELS_FIRST if four else PLAIN,
        epsilon=float(eps),
    )


@translates(stagewise.SoftStagewiseRegression)
def soft_stagewise_regression(
    graph: Graph,
    shape: Shape,
    p: Value,
    eta: Value,
    delta: Value,
    *,
    stages: Any,
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> Value:
    """age = min_age + sum_k w_k q_k with what is constant in it computed here (see the op).

    With c_k = V / prod_{j<=k} s_j in years, a constant, and f_k the stretch of stage k,

        age = min_age + (c_1 q_1 + (c_2 q_2 + c_3 q_3 / f_3) / f_2) / f_1

    The c_k q_k of all stages are one product of p (i + c_eta eta) with a matrix of the c_k.
    """
    first = np.cumsum([0, *stages])
    i = np.concatenate([np.arange(s) for s in stages]).astype(np.float32)  # (bins,)
    years = np.zeros((len(i), len(stages)), np.float32)  # c_k where bin i is one of stage k's
    for k in range(len(stages)):
        years[first[k] : first[k + 1], k] = (max_age - min_age) / math.prod(stages[: k + 1])
    p = graph.plain(p)
    if c_eta == 0:
        years *= i[:, None]
    else:
        places = graph.emit("Add", [scaled(graph, graph.plain(eta), c_eta), i[None]], p.shape)
        p = graph.emit("Mul", [p, places], p.shape)
    parts = graph.columns(graph.emit("MatMul", [p, years], delta.shape))  # c_k q_k
    stretches = [None] * len(stages) if c_delta == 0 else stretched(graph, delta, c_delta, floor)
    age: Value | None = None
    for part, f in zip(reversed(parts), reversed(stretches), strict=True):
        age = part if age is None else graph.emit("Add", [part, age], shape, COLUMN)
        age = age if f is None else graph.emit("Div", [age, f], shape, COLUMN)
    if age is None:
        raise ValueError("a stagewise formula without stages")
    return graph.emit("Add", [age, number(min_age)], shape, COLUMN) if min_age else age


def stretched(graph: Graph, delta: Value, c_delta: float, floor: float) -> list[Value]:
    """The f_k = max(1 + c_delta delta_k, floor), a column each; a floor of 0 is none."""
    stretch = scaled(graph, graph.plain(delta), c_delta)
    stretch = graph.emit("Add", [stretch, number(1)], delta.shape)
    if floor > 0:
        stretch = graph.emit("Max", [stretch, number(floor)], delta.shape)
    return graph.columns(stretch)


def scaled(graph: Graph, value: Value, factor: float) -> Value:
    """`value` times a constant, which is often 1."""
    return value if factor == 1 else graph.emit("Mul", [value, number(factor)], value.shape)
