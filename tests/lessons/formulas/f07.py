"""Lesson 07: the two poolings, the two bends, and their gradients."""

from __future__ import annotations

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula

X = np.array([3.0, 7.0, -1.0, 7.0])  # one window, in reading order, with a tie


def pooled(op):
    x = Tensor(X.reshape(1, 2, 2, 1), requires_grad=True)
    y = op(x)
    y.backward(np.full((1, 1, 1, 1), 2.0))
    return y.item(), x.grad.ravel()


@formula(
    r"y^{\text{avg}} = \frac{1}{4} \sum_{r \in R} x_r, \qquad y^{\text{max}} = \max_{r \in R} x_r"
)
def poolings() -> None:
    import sympy as sp

    symbols = sp.symbols("x0:4")
    values = dict(zip(symbols, X, strict=True))
    assert float((sp.Add(*symbols) / 4).subs(values)) == pooled(ops.avg_pool)[0]
    assert float(sp.Max(*symbols).subs(values)) == pooled(ops.max_pool)[0]


@formula(
    r"\bar{x}_r^{\text{avg}} = \frac{\bar{y}}{4}, \qquad"
    r"\bar{x}_r^{\text{max}} = \begin{cases} \bar{y} & x_r \text{ is the first maximum} \\"
    r"0 & \text{otherwise} \end{cases}"
)
def their_gradients() -> None:
    assert pooled(ops.avg_pool)[1].tolist() == [2.0 / 4] * 4
    first = int(np.flatnonzero(X.max() == X)[0])
    assert pooled(ops.max_pool)[1].tolist() == [2.0 if r == first else 0.0 for r in range(4)]


@formula(
    r"\operatorname{relu}(x) = \max(x, 0), \qquad"
    r"\operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases},"
    r"\qquad \tanh'(x) = 1 - \tanh^2(x)"
)
def bends() -> None:
    import sympy as sp

    z = sp.symbols("z", real=True)
    assert sp.simplify(sp.diff(sp.tanh(z), z) - (1 - sp.tanh(z) ** 2)) == 0
    x = Tensor(np.array([-2.0, 0.0, 3.0]), requires_grad=True)
    y = ops.relu(x)
    y.backward(np.ones(3))
    assert y.data.tolist() == [float(sp.Max(v, 0)) for v in x.data]
    assert x.grad.tolist() == [0.0, 0.0, 1.0]
    x.zero_grad()
    ops.tanh(x).backward(np.ones(3))
    slope = sp.diff(sp.tanh(z), z)
    assert np.allclose(x.grad, [float(slope.subs(z, v)) for v in x.data])
