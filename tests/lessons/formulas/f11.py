"""The formulas of lesson 11."""

import numpy as np

from minissr import Tensor
from minissr.ops.stagewise import SoftStagewiseRegression
from tests.lessons.formulas.registry import formula

STAGES, V = (2, 3), 90
P, ETA = [0.3, 0.7, 0.2, 0.3, 0.5], [0.1, -0.4, 0.3, 0.2, -0.5]
DELTA = [0.25, -0.5]


def minissr_says(p=P, eta=ETA):
    """Age, widths and indices of one face."""
    tensors = [Tensor(np.float64([array])) for array in (p, eta, DELTA)]
    age, (width, index) = SoftStagewiseRegression.apply_with_extra(
        *tensors, stages=STAGES, min_age=0.0, max_age=float(V), c_delta=1.0, c_eta=1.0, floor=0.0
    )
    return age.data[0], width[0], index[0]


def stretched():
    """s-bar of each stage."""
    return [s * (1 + d) for s, d in zip(STAGES, DELTA, strict=True)]


@formula(r"\bar s_k = s_k \, (1 + \Delta_k)")
def equation_4() -> None:
    width = minissr_says()[1]
    assert np.allclose([V / width[0], width[0] / width[1]], stretched())


@formula(r"\bar w_k = \frac{V}{\prod_{j=1}^{k} \bar s_j}")
def equation_5() -> None:
    assert np.allclose(minissr_says()[1], [V / np.prod(stretched()[: k + 1]) for k in range(2)])


@formula(r"\bar i = i + \eta_i^{(k)}")
def equation_6() -> None:
    for i in range(3):
        certain = [1, 0, *np.eye(3)[i]]
        assert np.isclose(minissr_says(p=certain)[2][1], i + ETA[2 + i])


@formula(
    r"""\tilde y = \sum_{k=1}^{K} \sum_{i=0}^{s_k-1} p_i^{(k)} \cdot \bar i \;
    \frac{V}{\prod_{j=1}^{k} \bar s_j}"""
)
def equation_7() -> None:
    import sympy

    p, eta = sympy.symbols("p0:5"), sympy.symbols("e0:5")
    total, first = 0, 0
    for k, s in enumerate(STAGES):
        width = V / sympy.prod(stretched()[: k + 1])
        total += sum(p[first + i] * (i + eta[first + i]) * width for i in range(s))
        first += s
    values = dict(zip((*p, *eta), (*P, *ETA), strict=True))
    assert np.isclose(float(total.subs(values)), minissr_says()[0])
