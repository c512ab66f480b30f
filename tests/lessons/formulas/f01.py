"""Lesson 01: the age of one stage of two bins, sums over paths and over children."""

from __future__ import annotations

import itertools

import numpy as np

from minissr import Tensor, ops
from minissr.ops.basic import unbroadcast
from tests.lessons.formulas.registry import formula


@formula(r"y = \frac{V}{2 (1 + \Delta)} \left( p_0 \cdot 0 + p_1 (1 + \eta) \right)")
def two_bins() -> None:
    import sympy as sp

    V, delta, p0, p1, eta = sp.symbols("V Delta p_0 p_1 eta")
    y = V / (2 * (1 + delta)) * (p0 * 0 + p1 * (1 + eta))
    values = {V: 90, p0: 0.25, p1: 0.75, eta: -0.2, delta: 0.1}
    p = Tensor(np.array([[0.25, 0.75]]), requires_grad=True)
    shift = Tensor(np.array([[0.0, -0.2]]), requires_grad=True)
    stretch = Tensor(np.array([[0.1]]), requires_grad=True)
    age = ops.soft_stagewise_regression(p, shift, stretch, stages=(2,), max_age=90)
    age.backward()
    assert np.isclose(float(y.subs(values)), age.item())
    for symbol, grad in ((p1, p.grad[0, 1]), (eta, shift.grad[0, 1]), (delta, stretch.grad[0, 0])):
        assert np.isclose(float(sp.diff(y, symbol).subs(values)), grad)


def diamond():
    """y = (x a)(x + a) with a = x^2, its edges with their slopes, and its parents by name."""
    import sympy as sp

    x = sp.symbols("x")
    value = {"x": x, "a": x**2, "m": x**3, "s": x + x**2}
    slopes = {
        ("a", "x"): 2 * x, ("m", "x"): value["a"], ("m", "a"): x, ("s", "x"): 1, ("s", "a"): 1,
        ("y", "m"): value["s"], ("y", "s"): value["m"],
    }  # fmt: skip
    return x, sp.diff(value["m"] * value["s"], x), slopes


@formula(
    r"\frac{\partial y}{\partial x} = \sum_{\text{paths from } x \text{ to } y} \;"
    r"\prod_{\text{edges of the path}} \text{slope}"
)
def sum_over_paths() -> None:
    import sympy as sp

    _x, wanted, slopes = diamond()
    names = "amsy"
    total = 0
    for length in range(len(names) + 1):
        for inner in itertools.permutations("ams", length):
            path = ("y", *inner, "x")
            edges = list(itertools.pairwise(path))
            if all(edge in slopes for edge in edges):
                total += sp.prod([slopes[edge] for edge in edges])
    assert sp.simplify(total - wanted) == 0


@formula(
    r"\bar{a} = \sum_{c \,\in\, \text{children of } a} \bar{c} \; \frac{\partial c}{\partial a}"
)
def sum_over_children() -> None:
    import sympy as sp

    _x, wanted, slopes = diamond()
    bar = {"y": sp.Integer(1)}
    for name in ("s", "m", "a", "x"):  # youngest first
        bar[name] = sum(bar[child] * slope for (child, parent), slope in slopes.items()
                        if parent == name)  # fmt: skip
    assert sp.simplify(bar["x"] - wanted) == 0


@formula(r"y_{ij} = a_{ij} + b_j \quad\Rightarrow\quad \bar{b}_j = \sum_i \bar{y}_{ij}")
def stretched_rows() -> None:
    g = np.random.default_rng(0).normal(size=(4, 3))
    assert np.allclose([sum(g[i, j] for i in range(4)) for j in range(3)], unbroadcast(g, (3,)))
    b = Tensor(np.zeros(3), requires_grad=True)
    (Tensor(np.zeros((4, 3))) + b).backward(g)
    assert np.allclose(b.grad, g.sum(axis=0))
