"""The node cases that come with the `onnx` package, and what became of each here."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr import Tensor, use_backend
from tests.conformance.adapter import OPERATORS

# Relative and absolute, in float32; the package's own 1e-3 would hide a wrong epsilon.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@dataclass(frozen=True)
class NodeCase:
    """One call of one operator: inputs (None for one left out), attributes, expected outputs."""

    name: str
    operator: str
    inputs: tuple[np.ndarray | None, ...]
    attributes: dict[str, Any]
    outputs: tuple[np.ndarray, ...]

    def trouble(self, backend: str) -> str | None:
        """Why our op doesn't pass on `backend`; None if it does."""
        try:
            with use_backend(backend):
                results = OPERATORS[self.operator](*self.inputs, **self.attributes)
        except (TypeError, ValueError) as refusal:
            return str(refusal)
        if not isinstance(results, tuple):
            results = (results,)
        if len(results) < len(self.outputs):
            return f"{len(results)} of {len(self.outputs)} outputs"
        for result, expected in zip(results, self.outputs, strict=False):
            got = result.data if isinstance(result, Tensor) else result
            if (got.shape, got.dtype) != (expected.shape, expected.dtype):
                return f"{got.dtype} {got.shape} instead of {expected.dtype} {expected.shape}"
            if not np.allclose(got, expected, **TOLERANCE):
                return f"off by {abs(got - expected).max():g}"
        return None


def text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@functools.cache
def every_case() -> tuple[NodeCase, ...]:
    """All cases whose graph is one of our operators; takes seconds, for onnx makes them all."""
    import onnx
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the expected values' own arithmetic
        collected = collect_testcases(None)
    cases = []
    for found in collected:
        graph = found.model.graph
        node = graph.node[0]
        if len(graph.node) != 1 or node.op_type not in OPERATORS:
            continue  # another operator, or one spelled out in simpler ones ("_expanded")
        for inputs, outputs in found.data_sets:
            given = dict(zip((i.name for i in graph.input), map(np.asarray, inputs), strict=True))
            attributes = {
                attribute.name: text(onnx.helper.get_attribute_value(attribute))
                for attribute in node.attribute
            }
            cases.append(
                NodeCase(
                    found.name,
                    node.op_type,
                    tuple(given.get(name) for name in node.input),
                    attributes,
                    tuple(map(np.asarray, outputs)),
                )
            )
    return tuple(cases)
