"""The same op on every CPU backend: same numbers, same types, inputs untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from minissr import Tensor, use_backend
from minissr.autograd.function import Function
from minissr.autograd.tensor import walk_back
from tests.conftest import examples
from tests.ops.case import Case, input_names
from tests.ops.cases import CASES

# Relative to the largest value: of an output, and of all gradients of a call together. (That of a
# single weight before batch norm is nothing but what is left when larger numbers cancel.)
TOLERANCES = {"float32": 1e-5, "float64": 1e-12}


def results(op: type[Function], case: Case, backend: str, dtype: str) -> dict[str, np.ndarray]:
    """Every output and every gradient of one call, for the same random output gradients."""
    tensors = [None if a is None else as_tensor(a, dtype) for a in case.inputs]
    with use_backend(backend):
        returned = case.call(op)(*tensors)
        for tensor, given in zip(tensors, case.inputs, strict=True):
            if tensor is not None:
                np.testing.assert_array_equal(tensor.data, given.astype(tensor.dtype))
        outputs = returned if isinstance(returned, tuple) else (returned,)
        rng = np.random.default_rng(0)
        grads = [rng.standard_normal(y.shape).astype(y.dtype) for y in outputs]
        walk_back(list(zip(outputs, grads, strict=True)))
    named = {f"output {i}": y.data for i, y in enumerate(outputs)}
    for name, tensor in zip(input_names(op), tensors, strict=True):
        if tensor is not None and tensor.requires_grad:
            named[f"gradient of {name}"] = tensor.grad
    return named


def as_tensor(array: np.ndarray, dtype: str) -> Tensor:
    """A copy as `dtype`, in the same memory order."""
    floating = array.dtype.kind == "f"
    return Tensor(array.astype(dtype if floating else array.dtype), requires_grad=floating)


def settings_as(case: Case, dtype: str) -> Case:
    """The case with a dtype among its settings (a cast's target) replaced."""
    fixed = {k: np.dtype(dtype) if k == "dtype" else v for k, v in case.settings.items()}
    return Case(case.inputs, fixed, case.seed)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("op", CASES, ids=lambda op: op.__name__)
def test_numba_agrees_with_numpy(op: type[Function], dtype: str) -> None:
    @settings(max_examples=examples(quick=15, thorough=150))
    @given(CASES[op])
    def agrees(case: Case) -> None:
        case = settings_as(case, dtype)
        reference = results(op, case, "numpy", dtype)
        compare(reference, results(op, case, "numba", dtype), TOLERANCES[dtype])
        assert {a.dtype for a in reference.values()} == {np.dtype(dtype)}

    agrees()


def compare(reference: dict[str, Any], fast: dict[str, Any], tolerance: float) -> None:
    assert reference.keys() == fast.keys()
    gradients = (a for name, a in reference.items() if name.startswith("gradient"))
    largest_gradient = max((abs(a).max(initial=0.0) for a in gradients), default=0.0)
    for name, expected in reference.items():
        got = fast[name]
        assert got.dtype == expected.dtype, name
        assert got.shape == expected.shape, name
        is_gradient = name.startswith("gradient")
        largest = largest_gradient if is_gradient else abs(expected).max(initial=0.0)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * largest, err_msg=name)
