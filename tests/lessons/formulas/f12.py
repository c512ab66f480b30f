"""The formulas of lesson 12."""

import functools

import numpy as np

from minissr import Tensor
from minissr.ops.stagewise import SoftStagewiseRegression
from tests.lessons.formulas.registry import formula

STAGES, V = (2, 3, 2), 101
P, ETA = [0.3, 0.7, 0.2, 0.3, 0.5, 0.6, 0.4], [0.1, -0.4, 0.3, 0.2, -0.5, 0.7, -0.2]
DELTA = [0.25, -0.5, 0.1]


@functools.cache
def symbols():
    """The three steps in symbols: f, w, q, the age, and the values to put in."""
    import sympy

    p, eta, delta = (sympy.symbols(f"{name}0:{n}") for name, n in (("p", 7), ("e", 7), ("d", 3)))
    f = [1 + d for d in delta]
    w, q, first = [], [], 0
    for k, s in enumerate(STAGES):
        w.append(V / sympy.prod([STAGES[j] * f[j] for j in range(k + 1)]))
        q.append(sum(p[first + i] * (i + eta[first + i]) for i in range(s)))
        first += s
    values = dict(zip((*p, *eta, *delta), (*P, *ETA, *DELTA), strict=True))
    return sympy, p, eta, delta, f, w, q, sum(a * b for a, b in zip(w, q, strict=True)), values


def minissr_says(floor=0.0, delta=DELTA):
    """Widths, indices, and the gradients of the age, with respect to p, eta, delta."""
    tensors = [Tensor(np.float64([a]), requires_grad=True) for a in (P, ETA, delta)]
    age, (w, q) = SoftStagewiseRegression.apply_with_extra(
        *tensors, stages=STAGES, min_age=0.0, max_age=float(V), c_delta=1.0, c_eta=1.0, floor=floor
    )
    age.backward(np.ones(1))
    return w[0], q[0], [t.grad[0] for t in tensors]


def stage_and_bin():
    return [(k, i) for k, s in enumerate(STAGES) for i in range(s)]


@formula(r"f_k = 1 + \Delta_k")
def stretch() -> None:
    w = minissr_says()[0]
    assert np.allclose([V / w[0] / 2, w[0] / w[1] / 3, w[1] / w[2] / 2], [1 + d for d in DELTA])


@formula(r"w_k = \frac{V}{\prod_{j=1}^{k} s_j f_j}")
def width() -> None:
    *_, w, _, _, values = symbols()
    assert np.allclose([float(a.subs(values)) for a in w], minissr_says()[0])


@formula(r"q_k = \sum_i p_i \, (i + \eta_i)")
def index() -> None:
    *_, q, _, values = symbols()
    assert np.allclose([float(a.subs(values)) for a in q], minissr_says()[1])


@formula(r"\frac{\partial \tilde y}{\partial q_k} = w_k")
def slope_of_the_index() -> None:
    sympy, _, _, _, _, w, _, _, _ = symbols()
    q = sympy.symbols("q0:3")
    age = sum(a * b for a, b in zip(w, q, strict=True))
    assert all(sympy.simplify(sympy.diff(age, q[k]) - w[k]) == 0 for k in range(3))


@formula(
    r"""\frac{\partial q_k}{\partial p_i} = i + \eta_i \qquad
    \frac{\partial q_k}{\partial \eta_i} = p_i"""
)
def slopes_inside_a_stage() -> None:
    sympy, p, eta, _, _, _, q, _, _ = symbols()
    for n, (k, i) in enumerate(stage_and_bin()):
        assert sympy.expand(sympy.diff(q[k], p[n]) - (i + eta[n])) == 0
        assert sympy.expand(sympy.diff(q[k], eta[n]) - p[n]) == 0


@formula(
    r"""\frac{\partial L}{\partial p_i} = g \, w_k \, (i + \eta_i) \qquad
    \frac{\partial L}{\partial \eta_i} = g \, w_k \, p_i"""
)
def gradients_of_p_and_eta() -> None:
    sympy, p, eta, _, _, w, _, age, values = symbols()
    _, _, (gp, geta, _) = minissr_says()
    for n, (k, i) in enumerate(stage_and_bin()):
        assert sympy.simplify(sympy.diff(age, p[n]) - w[k] * (i + eta[n])) == 0
        assert sympy.simplify(sympy.diff(age, eta[n]) - w[k] * p[n]) == 0
        assert np.isclose(float((w[k] * (i + eta[n])).subs(values)), gp[n])
        assert np.isclose(float((w[k] * p[n]).subs(values)), geta[n])


@formula(
    r"""w_k = \frac{A}{f_j} \quad\Rightarrow\quad
    \frac{\partial w_k}{\partial f_j} = -\frac{A}{f_j^2} = -\frac{w_k}{f_j} \qquad (k \ge j)"""
)
def slope_of_a_width() -> None:
    sympy, _, _, delta, f, w, _, _, _ = symbols()
    for k in range(3):
        for j in range(3):
            ours = -w[k] / f[j] if k >= j else 0
            assert sympy.simplify(sympy.diff(w[k], delta[j]) - ours) == 0  # f_j = 1 + delta_j


@formula(
    r"""\frac{\partial \tilde y}{\partial \Delta_j}
    = \sum_{k \ge j} q_k \, \frac{\partial w_k}{\partial f_j}
    = -\frac{1}{f_j} \sum_{k \ge j} w_k q_k"""
)
def gradient_of_delta() -> None:
    sympy, _, _, delta, f, w, q, age, values = symbols()
    gdelta = minissr_says()[2][2]
    for j in range(3):
        ours = -sum(w[k] * q[k] for k in range(j, 3)) / f[j]
        assert sympy.simplify(sympy.diff(age, delta[j]) - ours) == 0
        assert np.isclose(float(ours.subs(values)), gdelta[j])


@formula(
    r"""\frac{\partial L}{\partial \Delta_j} = 0 \qquad \text{where} \quad
    1 + \Delta_j \le \text{floor}"""
)
def floor() -> None:
    gdelta = minissr_says(floor=0.75, delta=[0.25, -0.5, -0.25])[2][2]
    assert gdelta[0] != 0
    assert gdelta[1] == 0
    assert gdelta[2] == 0  # the kink itself counts as held
