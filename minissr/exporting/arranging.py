"""Dense layers, softmax, reductions and everything that moves numbers, in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.autograd.function import Function
from minissr.errors import MinissrError
from minissr.exporting.graph import CHANNELS_FIRST, COLUMN, FLATTENED, PLAIN, Graph, Shape, Value
from minissr.exporting.pointwise import columns_first_channels
from minissr.exporting.translate import translates
from minissr.ops import activation, arrange, linear

CHANNELS_FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}  # where an axis of (N, H, W, C) is in (N, C, H, W)


@translates(linear.Dense)
def dense(graph: Graph, shape: Shape, x: Value, w: Value, b: Value | None) -> Value:
    weights = constant_of("dense", w)
    if x.layout == FLATTENED:
        weights = columns_first_channels(weights.T, x.map).T
    else:
        x = graph.plain(x)
    given = [x, graph.weight(w, weights), None if b is None else graph.plain(b)]
    return graph.emit("Gemm", given, shape)


@translates(linear.MatMul)
def matmul(graph: Graph, shape: Shape, a: Value, b: Value) -> Value:
    if b.constant is not None and b.constant.ndim == 1:  # (N, I) times a vector: a number a face
        column = graph.weight(b, b.constant[:, None])
        layout = COLUMN if len(shape) == 1 else PLAIN
        product = graph.emit("MatMul", [graph.plain(a), column], shape, layout)
        return product if layout == COLUMN else graph.reshape(product, (-1, *shape[1:]), shape)
    return graph.emit("MatMul", [graph.plain(a), graph.plain(b)], shape)


def constant_of(op: str, weights: Value) -> np.ndarray:
    """The weights' array; MinissrError if they depend on the face."""
    if weights.constant is None:
        raise MinissrError(f"{op} with weights that depend on the face can't be exported")
    return weights.constant


def enter_softmax(function: type[Function], op: str) -> None:
    @translates(function)
    def softmax(graph: Graph, shape: Shape, x: Value, *, axis: int) -> Value:
        axis %= len(shape)
        if x.layout == CHANNELS_FIRST:
            return graph.emit(op, [x], shape, CHANNELS_FIRST, axis=CHANNELS_FIRST_AXIS[axis])
        return graph.emit(op, [graph.plain(x)], shape, axis=axis)


enter_softmax(activation.Softmax, "Softmax")
enter_softmax(activation.LogSoftmax, "LogSoftmax")


def enter_reduction(function: type[Function], op: str) -> None:
    @translates(function)
    def reduction(graph: Graph, shape: Shape, x: Value, *, axis: Any, keepdims: bool) -> Value:
        rank = len(x.shape)
        axes = sorted(a % rank for a in ((axis,) if isinstance(axis, int) else axis))
        layout = COLUMN if len(shape) == 1 else PLAIN
        if x.layout == CHANNELS_FIRST and (keepdims or axes == [1, 2]):
            axes = sorted(CHANNELS_FIRST_AXIS[a] for a in axes)
            layout = CHANNELS_FIRST if keepdims else PLAIN
        elif not (x.layout == FLATTENED and axes == [1]):  # a sum doesn't mind the order
            x = graph.plain(x)
        if layout == COLUMN and rank > 2:
            x = graph.reshape(x, (-1, int(np.prod(x.shape[1:]))), x.shape)
            axes = [1]
        keep = int(keepdims or layout == COLUMN)
        if op == "ReduceSum":
            listed = np.array(axes, np.int64)
            return graph.emit(op, [x, listed], shape, layout, keepdims=keep)
        return graph.emit(op, [x], shape, layout, axes=axes, keepdims=keep)


enter_reduction(arrange.Sum, "ReduceSum")
enter_reduction(arrange.Mean, "ReduceMean")


@translates(arrange.Reshape)
def reshape(graph: Graph, shape: Shape, x: Value, /, **settings: Any) -> Value:
    """To `shape`; what was asked for (it may hold a -1) is in the settings."""
    if shape == x.shape:
        return x
    if x.layout == CHANNELS_FIRST and len(shape) == 2:
        flat = graph.emit("Flatten", [x], shape, FLATTENED, x.shape[1:], axis=1)
        _, h, w, c = x.shape
        return Value(flat.name, shape) if h * w == 1 or c == 1 else flat
    if x.layout == COLUMN and shape == (x.shape[0], 1):
        return Value(x.name, shape)
    x = graph.plain(x)
    if x.shape == (shape[0], 1) and len(shape) == 1:
        return Value(x.name, shape, COLUMN)
    return graph.reshape(x, (-1, *shape[1:]), shape)


@translates(arrange.Transpose)
def transpose(graph: Graph, shape: Shape, x: Value, *, axes: Any) -> Value:
    order = [a % len(shape) for a in (axes or range(len(shape))[::-1])]
    if order[0] != 0:
        raise MinissrError(f"a transpose to {tuple(order)} mixes faces and can't be exported")
    return graph.emit("Transpose", [graph.plain(x)], shape, perm=order)


@translates(arrange.Concat)
def concat(graph: Graph, shape: Shape, *parts: Value, axis: int) -> Value:
    axis %= len(shape)
    if len(shape) == 4 and any(part.layout == CHANNELS_FIRST for part in parts):
        turned = [graph.channels_first(part) for part in parts]
        return graph.emit("Concat", turned, shape, CHANNELS_FIRST, axis=CHANNELS_FIRST_AXIS[axis])
    return graph.emit("Concat", [graph.plain(part) for part in parts], shape, axis=axis)


@translates(arrange.Index)
def index(graph: Graph, shape: Shape, x: Value, *, key: Any) -> Value:
    """Slices and whole numbers along the axes after the first."""
    keys = key if isinstance(key, tuple) else (key,)
    if ... in keys:
        place = keys.index(...)
        hidden = len(x.shape) - len(keys) + 1
        keys = (*keys[:place], *[slice(None)] * hidden, *keys[place + 1 :])
    if not all(isinstance(k, int | slice) for k in keys) or keys[0] != slice(None):
        raise MinissrError(
            f"indexing by {key} can't be exported; use slices and whole numbers, and all faces"
        )
    x = graph.plain(x)
    starts, ends, axes, steps = [], [], [], []
    for axis, k in enumerate(keys):
        one = slice(k, k + 1 or None) if isinstance(k, int) else k
        start, stop, step = one.indices(x.shape[axis])
        if (start, stop, step) != (0, x.shape[axis], 1):
            starts.append(start)
            ends.append(stop if stop >= 0 else -x.shape[axis] - 1)  # down to the first
            axes.append(axis)
            steps.append(step)
    if axes:
        numbers = [np.array(part, np.int64) for part in (starts, ends, axes, steps)]
        cut = tuple(
            len(range(*(slice(k, k + 1 or None) if isinstance(k, int) else k).indices(n)))
            for k, n in zip([*keys, *[slice(None)] * len(x.shape)], x.shape, strict=False)
        )
        x = graph.emit("Slice", [x, *numbers], cut)
    return reshape(graph, shape, x)
