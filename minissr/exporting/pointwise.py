"""Ops that treat each number by itself, in ONNX: they don't care how a map is laid out."""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.autograd.function import Function
from minissr.exporting.graph import (
    CHANNELS_FIRST,
    COLUMN,
    FLATTENED,
    PLAIN,
    TO_CHANNELS_FIRST,
    Graph,
    Shape,
    Value,
)
from minissr.exporting.translate import number, translates
from minissr.ops import activation, arrange, basic

ONE_INPUT: dict[type[Function], str] = {
    activation.Relu: "Relu",
    activation.Tanh: "Tanh",
    activation.Sigmoid: "Sigmoid",
    activation.Softplus: "Softplus",
    basic.Negate: "Neg",
    basic.Exp: "Exp",
    basic.Log: "Log",
    basic.Absolute: "Abs",
}
TWO_INPUTS: dict[type[Function], str] = {
    basic.Add: "Add",
    basic.Subtract: "Sub",
    basic.Multiply: "Mul",
    basic.Divide: "Div",
}


def one_by_one(graph: Graph, x: Value, op: str, *more: Any, **attributes: Any) -> Value:
    """A node on `x` and constants that leaves the layout as it is."""
    return graph.emit(op, [x, *more], x.shape, x.layout, x.map, **attributes)


def enter_one_input(function: type[Function], op: str) -> None:
    @translates(function)
    def unary(graph: Graph, shape: Shape, x: Value) -> Value:
        return one_by_one(graph, x, op)


def enter_two_inputs(function: type[Function], op: str) -> None:
    @translates(function)
    def binary(graph: Graph, shape: Shape, a: Value, b: Value) -> Value:
        return together(graph, op, shape, a, b)


for function, op in ONE_INPUT.items():
    enter_one_input(function, op)
for function, op in TWO_INPUTS.items():
    enter_two_inputs(function, op)


@translates(activation.Relu6)
def relu6(graph: Graph, shape: Shape, x: Value) -> Value:
    return one_by_one(graph, x, "Clip", number(0), number(6))


@translates(basic.Clip)
def clip(graph: Graph, shape: Shape, x: Value, *, low: float | None, high: float | None) -> Value:
    """The lower limit first, then the upper, as minissr does where they cross."""
    if low is not None and np.isfinite(low):
        x = one_by_one(graph, x, "Max", number(low))
    if high is not None and np.isfinite(high):
        x = one_by_one(graph, x, "Min", number(high))
    return x


@translates(activation.LeakyRelu)
def leaky_relu(graph: Graph, shape: Shape, x: Value, *, slope: float) -> Value:
    return one_by_one(graph, x, "LeakyRelu", alpha=float(slope))


@translates(basic.Power)
def power(graph: Graph, shape: Shape, x: Value, *, exponent: float) -> Value:
    return one_by_one(graph, x, "Pow", number(exponent))


@translates(arrange.Cast)
def cast(graph: Graph, shape: Shape, x: Value, *, dtype: np.dtype) -> Value:
    """Everything is float32 in the exported graph."""
    return x


def together(graph: Graph, op: str, shape: Shape, a: Value, b: Value) -> Value:
    """Two values, or a value and a constant, number by number with broadcasting.

    In any layout but the plain one, lengths that ONNX sees are only those that minissr sees if
    nothing but a constant is stretched.
    """
    value, other = (a, b) if a.constant is None else (b, a)
    if other.constant is not None:
        array = beside(other.constant, value)
        if array is None:
            value, array = graph.plain(value), other.constant
        fixed = Value(graph.keep(other.name, array.astype(np.float32)), array.shape)
        pair = [value, fixed] if value.shape == a.shape and b is other else [fixed, value]
        return graph.emit(op, pair, shape, value.layout, value.map)
    if a.layout == b.layout != PLAIN and a.shape == b.shape:
        return graph.emit(op, [a, b], shape, a.layout, a.map)
    if len(a.shape) == len(b.shape) == 4 and CHANNELS_FIRST in (a.layout, b.layout):
        pair = [graph.channels_first(a), graph.channels_first(b)]
        return graph.emit(op, pair, shape, CHANNELS_FIRST)
    return graph.emit(op, [graph.plain(a), graph.plain(b)], shape)


def beside(constant: np.ndarray, value: Value) -> np.ndarray | None:
    """A constant so that it meets the right numbers of `value`; None if it stretches `value`."""
    if constant.ndim > len(value.shape):
        return None
    if np.broadcast_shapes(constant.shape, value.shape) != value.shape:
        return None
    if constant.size == 1:
        return constant.reshape(())
    if value.layout == CHANNELS_FIRST:
        axes = (1,) * (4 - constant.ndim)
        return constant.reshape(axes + constant.shape).transpose(TO_CHANNELS_FIRST)
    if value.layout == FLATTENED:
        return columns_first_channels(constant, value.map)
    return None if value.layout == COLUMN else constant


def columns_first_channels(array: np.ndarray, map: Shape) -> np.ndarray:
    """The last axis, H W C long, from the order H, W, C to C, H, W."""
    if array.shape[-1] == 1:
        return array
    h, w, c = map
    apart = array.reshape(*array.shape[:-1], h * w, c)
    return apart.swapaxes(-1, -2).reshape(array.shape)
