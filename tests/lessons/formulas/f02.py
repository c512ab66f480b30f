"""Lesson 02: the mean absolute error, a layer and a bend, with their gradients."""

from __future__ import annotations

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula


@formula(r"J = \frac{1}{N} \sum_{n} |y_n - t_n|")
def mean_absolute_error() -> None:
    import sympy as sp

    y, t = [30.0, 20.0, 7.5], [25.0, 21.0, 7.0]
    ys, ts = (sp.Array([sp.Rational(v) for v in values]) for values in (y, t))
    value = sp.Add(*[sp.Abs(ys[i] - ts[i]) for i in range(3)]) / 3
    assert np.isclose(float(value), ops.mae(Tensor(np.array(y)), t).item())


@formula(r"\bar{y}_n = \frac{1}{N} \operatorname{sign}(y_n - t_n)")
def its_gradient() -> None:
    import sympy as sp

    y, t = sp.symbols("y t", real=True)
    slope = sp.diff(sp.Abs(y - t) / 3, y)
    prediction = Tensor(np.array([30.0, 20.0, 7.5]), requires_grad=True)
    target = [25.0, 21.0, 7.0]
    ops.mae(prediction, target).backward()
    for value, wanted, grad in zip(prediction.data, target, prediction.grad, strict=True):
        assert np.isclose(float(slope.subs({y: value, t: wanted})), grad)
        assert np.isclose(float(sp.sign(value - wanted)) / 3, grad)


@formula(
    r"\bar{W}_{io} = \sum_n h_{ni}\, \bar{y}_{no} \qquad"
    r"\bar{h}_{ni} = \sum_o \bar{y}_{no}\, W_{io}"
    r"\qquad \bar{b}_o = \sum_n \bar{y}_{no}"
)
def layer() -> None:
    rng = np.random.default_rng(0)
    h, w, b = (Tensor(rng.normal(size=s), requires_grad=True) for s in ((4, 3), (3, 2), (2,)))
    g = rng.normal(size=(4, 2))
    ops.dense(h, w, b).backward(g)
    rows, inner, columns = range(4), range(3), range(2)
    for o in columns:
        assert np.isclose(sum(g[n, o] for n in rows), b.grad[o])
        for i in inner:
            assert np.isclose(sum(h.data[n, i] * g[n, o] for n in rows), w.grad[i, o])
    for n in rows:
        for i in inner:
            assert np.isclose(sum(g[n, o] * w.data[i, o] for o in columns), h.grad[n, i])


@formula(r"h = \tanh z, \qquad \bar{z} = \bar{h} \, (1 - h^2)")
def bend() -> None:
    import sympy as sp

    z = sp.symbols("z")
    assert sp.simplify(sp.diff(sp.tanh(z), z) - (1 - sp.tanh(z) ** 2)) == 0
    x = Tensor(np.linspace(-2, 2, 5), requires_grad=True)
    h = ops.tanh(x)
    h.backward(np.ones(5))
    assert np.allclose(x.grad, 1 - h.data**2)
