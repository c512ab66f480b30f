"""What each of minissr's ops is in ONNX: one table, filled by `pointwise`, `arranging`, `images`.

A translation is called as translation(graph, shape, *inputs, **settings) with the shape of the
op's result as minissr has it, the op's own inputs as Values (None where left out) and its own
settings. It adds nodes to the graph and returns the result's Value. It may give the result any
layout that suits it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minissr.autograd.function import Function
from minissr.errors import MinissrError
from minissr.exporting.graph import COLUMN, Graph, Value
from minissr.exporting.trace import BATCH, Trace

Translation = Callable[..., Value]
TRANSLATIONS: dict[type[Function], Translation] = {}
FAMILIES = ("pointwise", "arranging", "images")


def translates(*functions: type[Function]) -> Callable[[Translation], Translation]:
    """Enter a translation into the table."""

    def enter(translation: Translation) -> Translation:
        for function in functions:
            TRANSLATIONS[function] = translation
        return translation

    return enter


def table() -> dict[type[Function], Translation]:
    """All translations."""
    for family in FAMILIES:
        importlib.import_module(f"minissr.exporting.{family}")
    return TRANSLATIONS


def translate(trace: Trace, graph: Graph, faces: Value) -> Value:
    """Add all steps of a trace to a graph.

    Parameters
    ----------
    trace : Trace
    graph : Graph
    faces : Value (N, H, W, 3)
        What the network is to be given: float32, as its preprocessing says.

    Returns
    -------
    Value
        The ages, (N, 1) in the ONNX graph.

    Raises
    ------
    MinissrError
        If an op has no translation, or a step mixes several faces.
    """
    known = table()
    values = {id(trace.faces): faces}

    def value_of(tensor: Any) -> Value | None:
        if tensor is None:
            return None
        if id(tensor) not in values:
            name = tensor.name or f"constant_{len(values)}"
            values[id(tensor)] = Value(name, tensor.shape, constant=tensor.numpy())
        return values[id(tensor)]

    for step in trace.steps:
        name = step.function.__name__
        if step.function not in known:
            raise MinissrError(
                f"the op {name} has no translation to ONNX; there are "
                f"{', '.join(sorted(f.__name__ for f in known))}"
            )
        if not step.output.shape or step.output.shape[0] != BATCH:
            raise MinissrError(
                f"{name} makes {step.output.shape} of {BATCH} faces, so it mixes faces; only what "
                "treats each by itself can be exported"
            )
        inputs = [value_of(tensor) for tensor in step.inputs]
        result = known[step.function](graph, step.output.shape, *inputs, **step.settings)
        values[id(step.output)] = result
        graph.uses[result.name] += trace.uses[id(step.output)]
    return as_column(graph, values[id(trace.ages)])


def as_column(graph: Graph, ages: Value) -> Value:
    """One number a face as (N, 1)."""
    if ages.layout == COLUMN or len(ages.shape) == 2:
        return ages
    return graph.reshape(ages, (-1, 1), ages.shape, COLUMN)


def number(value: float) -> np.ndarray:
    """A float32 constant without axes."""
    return np.asarray(value, np.float32)
