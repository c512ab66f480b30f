"""The formulas of lesson 09."""

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula

S = 4


def symbols():
    """Logits z_i, V, softmax's p_i and Eq. 2's age, as sympy expressions."""
    import sympy

    z, V = sympy.symbols(f"z0:{S}", real=True), sympy.Symbol("V", positive=True)
    total = sum(sympy.exp(zj) for zj in z)
    p = [sympy.exp(zi) / total for zi in z]
    return sympy, z, V, p, sum(p[i] * i * V / S for i in range(S))


def dex(p, V):
    """minissr's age of one row p."""
    p = np.float64([p])
    return ops.soft_stagewise_regression(
        Tensor(p), Tensor(0 * p), Tensor(np.zeros((1, 1))),
        stages=(S,), max_age=V, c_delta=0.0, c_eta=0.0,
    ).data[0]  # fmt: skip


@formula(r"\mu_i = i \, \frac{V}{s}, \qquad i = 0, 1, \dots, s-1")
def where_bins_begin() -> None:
    for i in range(S):
        assert np.isclose(dex(np.eye(S)[i], 90.0), i * 90.0 / S)


@formula(r"p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}")
def softmax() -> None:
    _, z, _, p, _ = symbols()
    values = [0.3, -1.0, 2.0, 0.7]
    ours = ops.softmax(Tensor(np.float64([values]))).data[0]
    assert np.allclose([float(pi.subs(dict(zip(z, values, strict=True)))) for pi in p], ours)


@formula(r"\tilde y = \sum_{i=0}^{s-1} p_i \, \mu_i = \sum_{i=0}^{s-1} p_i \cdot i \, \frac{V}{s}")
def expected_value() -> None:
    p = [0.1, 0.2, 0.3, 0.4]
    assert np.isclose(sum(p[i] * i * 101.0 / S for i in range(S)), dex(p, 101.0))


@formula(r"\frac{\partial p_i}{\partial z_k} = p_i (\delta_{ik} - p_k)")
def softmax_gradient() -> None:
    sympy, z, _, p, _ = symbols()
    for i in range(S):
        for k in range(S):
            ours = p[i] * (int(i == k) - p[k])
            assert sympy.simplify(sympy.diff(p[i], z[k]) - ours) == 0


@formula(
    r"""\frac{\partial \tilde y}{\partial z_k}
    = \sum_i \mu_i \, p_i (\delta_{ik} - p_k)
    = \mu_k p_k - p_k \sum_i \mu_i p_i
    = p_k (\mu_k - \tilde y)"""
)
def age_gradient() -> None:
    sympy, z, V, p, y = symbols()
    for k in range(S):
        assert sympy.simplify(sympy.diff(y, z[k]) - p[k] * (k * V / S - y)) == 0
