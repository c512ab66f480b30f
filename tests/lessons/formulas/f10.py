"""The formulas of lesson 10."""

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula

STAGES = (2, 3)
V = 90


def stagewise(p):
    """minissr's age of one row p, and its gradient."""
    p = Tensor(np.float64([p]), requires_grad=True)
    age = ops.soft_stagewise_regression(
        p, Tensor(0 * p.data), Tensor(np.zeros((1, 2))),
        stages=STAGES, max_age=V, c_delta=0.0, c_eta=0.0,
    )  # fmt: skip
    age.backward(np.ones(1))
    return age.data[0], p.grad[0]


def symbolic():
    """Equation 3 in symbols: p_i^(k), and the age."""
    import sympy

    p = [sympy.symbols(f"p{k}_0:{s}") for k, s in enumerate(STAGES)]
    width = [sympy.Integer(V) / sympy.prod(STAGES[: k + 1]) for k in range(len(STAGES))]
    age = sum(p[k][i] * i * width[k] for k, s in enumerate(STAGES) for i in range(s))
    return sympy, [symbol for stage in p for symbol in stage], width, age


@formula(r"1 \cdot 30 + 2 \cdot 10 = 50")
def the_papers_example() -> None:
    p = Tensor(np.float64([[0, 1, 0, 0, 0, 1]]))
    zeros, none = Tensor(0 * p.data), Tensor(np.zeros((1, 2)))
    age = ops.soft_stagewise_regression(p, zeros, none, stages=(3, 3), max_age=90.0)
    assert age.data[0] == 1 * 30 + 2 * 10 == 50


@formula(
    r"""w_k = \frac{V}{\prod_{j=1}^{k} s_j} \qquad\qquad
    \tilde y = \sum_{k=1}^{K} \sum_{i=0}^{s_k-1} p_i^{(k)} \cdot i \, w_k"""
)
def equation_3() -> None:
    _, p, width, age = symbolic()
    assert [float(w) for w in width] == [45, 15]
    values = [0.3, 0.7, 0.2, 0.3, 0.5]
    assert np.isclose(float(age.subs(dict(zip(p, values, strict=True)))), stagewise(values)[0])


@formula(r"\frac{\partial \tilde y}{\partial p_i^{(k)}} = i \, w_k")
def gradient() -> None:
    sympy, p, width, age = symbolic()
    values = [0.3, 0.7, 0.2, 0.3, 0.5]
    ours = [i * width[k] for k, s in enumerate(STAGES) for i in range(s)]
    assert all(sympy.diff(age, symbol) == slope for symbol, slope in zip(p, ours, strict=True))
    assert np.allclose([float(slope) for slope in ours], stagewise(values)[1])
