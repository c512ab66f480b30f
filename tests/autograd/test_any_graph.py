"""Graphs of any shape, whose tensors are read any number of times, against derivatives carried
forwards beside the values (dual numbers), which know nothing of a walk back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from minissr import Tensor, ops

Dual = tuple[np.ndarray, np.ndarray]  # values, and their derivatives by x


def tanh_of_product(a: Dual, b: Dual) -> Dual:
    y = np.tanh(a[0] * b[0])
    return y, (1 - y**2) * (a[1] * b[0] + a[0] * b[1])


# Of two tensors; among them those whose backward gives the gradient on as it is, once or twice.
STEPS: dict[str, tuple[Callable[..., Any], Callable[..., Dual]]] = {
    "add": (lambda a, b: a + b, lambda a, b: (a[0] + b[0], a[1] + b[1])),
    "subtract": (lambda a, b: a - b, lambda a, b: (a[0] - b[0], a[1] - b[1])),
    "shift": (lambda a, b: a + 1.0, lambda a, b: (a[0] + 1, a[1])),
    "halve": (lambda a, b: a * 0.5, lambda a, b: (a[0] / 2, a[1] / 2)),
    "view": (lambda a, b: a.reshape(3, 1).reshape(3), lambda a, b: a),
    "tanh": (lambda a, b: ops.tanh(a * b), tanh_of_product),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 8), st.integers(0, 8)),
        min_size=1,
        max_size=9,
    )
)
@example([("halve", 0, 0), ("add", 0, 0)])  # y + y
@example([("halve", 0, 0), ("shift", 0, 0), ("add", 0, 1)])  # a residual
def test_the_walk_back_adds_every_path_once(plan: list[tuple[str, int, int]]) -> None:
    """A step reads the i-th and the j-th tensor counted from the newest, the leaf if there are not
    as many; the last step is what is differentiated."""
    x = Tensor(np.array([-0.7, 0.2, 1.1]), requires_grad=True)
    tensors, duals = [x], [(x.data, np.ones(3))]
    for name, i, j in plan:
        step, dual = STEPS[name]
        first, second = (max(len(tensors) - 1 - back, 0) for back in (i, j))
        tensors.append(step(tensors[first], tensors[second]))
        duals.append(dual(duals[first], duals[second]))
    tensors[-1].sum().backward()
    value, derivative = duals[-1]
    np.testing.assert_allclose(tensors[-1].data, value, rtol=1e-12)
    np.testing.assert_allclose(x.grad, derivative, rtol=1e-9, atol=1e-12)
