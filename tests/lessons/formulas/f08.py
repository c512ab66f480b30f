"""Lesson 08: batch norm, its derivative and its backward, and what is remembered."""

from __future__ import annotations

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula

EPS = 1e-3
RNG = np.random.default_rng(0)
X, GAMMA, BETA, GY = (
    RNG.normal(2, 3, 5), RNG.normal(1, 0.3, 1), RNG.normal(size=1), RNG.normal(size=5)
)  # fmt: skip


def symbolic():
    """The five numbers, and their normalised values."""
    import sympy as sp

    x = sp.symbols("x0:5")
    mu = sp.Add(*x) / 5
    v = sp.Add(*[(each - mu) ** 2 for each in x]) / 5
    return x, [(each - mu) / sp.sqrt(v + sp.Float(EPS)) for each in x], v


def package():
    tensors = [Tensor(a, requires_grad=True) for a in (X[:, None], GAMMA, BETA)]
    y, _, var = ops.batch_norm(*tensors)
    y.backward(GY[:, None])
    return y.data[:, 0], [tensor.grad for tensor in tensors], var[0]


@formula(
    r"\mu = \frac{1}{M} \sum_n x_n, \qquad v = \frac{1}{M} \sum_n (x_n - \mu)^2, \qquad"
    r"\hat{x}_n = \frac{x_n - \mu}{\sqrt{v + \epsilon}}, \qquad y_n = \gamma \hat{x}_n + \beta"
)
def batch_norm() -> None:
    x, xhat, v = symbolic()
    values = dict(zip(x, X, strict=True))
    y, _, var = package()
    assert np.isclose(float(v.subs(values)), var)
    assert np.allclose([float(GAMMA[0] * each.subs(values) + BETA[0]) for each in xhat], y)


@formula(
    r"\frac{\partial \hat{x}_m}{\partial x_n} = r \left( [m = n] - \frac{1}{M}"
    r"- \frac{\hat{x}_m \hat{x}_n}{M} \right)"
)
def derivative() -> None:
    import sympy as sp

    x, xhat, v = symbolic()
    values = dict(zip(x, X, strict=True))
    r = 1 / np.sqrt(float(v.subs(values)) + EPS)
    at = [float(each.subs(values)) for each in xhat]
    for m, n in ((0, 0), (0, 1), (3, 2), (4, 4)):
        exact = float(sp.diff(xhat[m], x[n]).subs(values))
        assert np.isclose(exact, r * ((m == n) - 1 / 5 - at[m] * at[n] / 5))


@formula(
    r"\bar{x}_n = \gamma r \left( \bar{y}_n - \frac{\bar\beta}{M} - \hat{x}_n"
    r"\frac{\bar\gamma}{M} \right)"
)
def backward() -> None:
    y, (gx, g_gamma, g_beta), var = package()
    xhat = (y - BETA) / GAMMA
    assert np.isclose(g_beta[0], GY.sum())
    assert np.isclose(g_gamma[0], (GY * xhat).sum())
    right = GAMMA / np.sqrt(var + EPS) * (GY - g_beta / 5 - xhat * g_gamma / 5)
    assert np.allclose(gx[:, 0], right)


@formula(r"\mu^{\text{memory}} \leftarrow 0.99\, \mu^{\text{memory}} + 0.01\, \mu")
def memory() -> None:
    from minissr.nn.layers import BatchNorm

    layer = BatchNorm(1, momentum=0.99)
    for value in (3.0, 5.0):
        before = float(layer.moving_mean[0])
        layer(Tensor(np.array([[value - 1], [value + 1]], np.float32)))
        assert np.isclose(float(layer.moving_mean[0]), 0.99 * before + 0.01 * value)
