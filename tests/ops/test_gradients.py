"""Every op's hand-derived gradient against finite differences, and the check against itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from minissr import use_backend
from minissr.autograd.function import Context, Function
from minissr.autograd.gradcheck import GradientError, gradcheck
from tests.conftest import CPU_BACKENDS, examples
from tests.ops.case import CONSTANT, Case, every_op, input_names
from tests.ops.cases import CASES

TINY = 24  # numbers; up to here every element is checked too: a direction can hide one


def check(op: type[Function], backend: str, case: Case) -> None:
    """The gradient of one call, along a direction in each input and, if tiny, in each element."""
    size = sum(x.size for x in case.inputs if x is not None)
    with use_backend(backend):
        for mode in ("inputs", "elements") if size <= TINY else ("inputs",):
            report = gradcheck(case.call(op), case.inputs, mode=mode)
            assert report.worst.error < 1e-6  # without what rounding is allowed to add


def examples_of(op: type[Function]) -> int:
    """The stagewise regression is what the paper adds; it gets the most."""
    if op.__name__ == "SoftStagewiseRegression":
        return examples(quick=200, thorough=10_000)
    return examples(quick=40, thorough=400)


def suite(op: type[Function], backend: str, count: int, shrink: bool = True) -> None:
    """All examples of one op; what the test runs, and what a planted error has to fail."""
    phases = list(Phase) if shrink else [Phase.explicit, Phase.generate]

    @settings(max_examples=count, phases=phases, report_multiple_bugs=shrink)
    @given(CASES[op])
    def run(case: Case) -> None:
        check(op, backend, case)

    run()


@pytest.mark.parametrize("op", every_op(), ids=lambda op: op.__name__)
def test_every_op_has_a_case(op: type[Function]) -> None:
    assert op in CASES, (
        f"{op.__name__} has no entry in tests/ops/cases.py: its gradient is unchecked"
    )


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("op", CASES, ids=lambda op: op.__name__)
def test_gradient_agrees_with_finite_differences(op: type[Function], backend: str) -> None:
    suite(op, backend, examples_of(op))


@contextlib.contextmanager
def planted(op: type[Function], position: int, factor: float = 1.001) -> Iterator[None]:
    """Make one of the gradients that `op.backward` returns wrong by 0.1 %.

    A gradient that is rightly 0 (of a bias before batch norm) becomes 0.1 % of the others.
    """
    original: Callable[..., Any] = op.__dict__["backward"]

    def backward(ctx: Context, *grads: Any) -> Any:
        result = original.__func__(ctx, *grads)  # type: ignore[attr-defined]
        returned = list(result) if isinstance(result, tuple) else [result]
        right = returned[position]
        if right is not None:
            norm = np.sqrt(sum((g**2).sum() for g in returned if g is not None))
            returned[position] = right * factor if right.any() else right + (factor - 1) * norm
        return tuple(returned)

    op.backward = staticmethod(backward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        op.backward = original  # type: ignore[method-assign]


def each_gradient() -> list[Any]:
    return [
        pytest.param(op, position, id=f"{op.__name__}-{name}")
        for op in CASES
        for position, name in enumerate(input_names(op))
        if (op, name) not in CONSTANT
    ]


@pytest.mark.parametrize(("op", "position"), each_gradient())
def test_a_planted_error_of_a_thousandth_is_caught(op: type[Function], position: int) -> None:
    with planted(op, position), pytest.raises(GradientError, match="wrong gradient"):
        suite(op, "numpy", 40, shrink=False)


def test_planting_leaves_no_trace() -> None:
    op = next(iter(CASES))
    before = op.__dict__["backward"]
    with planted(op, 0):
        assert op.__dict__["backward"] is not before
    assert op.__dict__["backward"] is before
