"""The gradient checks of the other backends, on the device.

The body is theirs (tests/ops): the same inputs, the same finite differences, the same tolerance.
Only the way to the op differs: the inputs are moved to the device, the results back, each by an op
of its own, so that the check sees NumPy arrays on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from minissr.autograd.function import Context, Function
from minissr.kernels import cuda
from tests.conftest import examples
from tests.ops.cases import CASES, Case
from tests.ops.test_gradients import check


class ToDevice(Function):
    """Move an array to the device; its gradient comes back."""

    accepts_integers = True

    @staticmethod
    def forward(ctx: Context, x: np.ndarray) -> Any:
        return cuda.xp().asarray(np.array(x, order="C"))

    @staticmethod
    def backward(ctx: Context, g: Any) -> np.ndarray:
        return g.get()


class ToHost(Function):
    """Move an array from the device; its gradient goes there."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> np.ndarray:
        return x.get()

    @staticmethod
    def backward(ctx: Context, g: np.ndarray) -> Any:
        return cuda.xp().asarray(g)


@dataclass(frozen=True)
class OnDevice:
    """A case whose op computes on the device."""

    case: Case

    @property
    def inputs(self) -> tuple[np.ndarray | None, ...]:
        return self.case.inputs

    def call(self, op: type[Function]) -> Callable[..., Any]:
        there = self.case.call(op)

        def apply(*tensors: Any) -> Any:
            result = there(*(None if t is None else ToDevice.apply(t) for t in tensors))
            if isinstance(result, tuple):
                return tuple(ToHost.apply(r) for r in result)
            return ToHost.apply(result)

        apply.__name__ = op.__name__
        apply.__signature__ = there.__signature__  # type: ignore[attr-defined]
        return apply


@pytest.mark.gpu_rungs
@pytest.mark.parametrize("op", CASES, ids=lambda op: op.__name__)
def test_gradient_agrees_with_finite_differences(cp: Any, op: type[Function]) -> None:
    @settings(max_examples=examples(quick=20, thorough=60), phases=[Phase.explicit, Phase.generate])
    @given(CASES[op])
    def run(case: Case) -> None:
        check(op, "numpy", OnDevice(case))  # type: ignore[arg-type]

    run()
