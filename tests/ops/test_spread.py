"""The variance of the age, and the divergence from a label: exact cases and refusals.

Their gradients are checked with the others', in test_gradients.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from minissr import Tensor, ops
from minissr.ops.spread import StagewiseVariance


def test_certain_stages_have_no_variance() -> None:
    p = Tensor(np.array([[0.0, 1, 0, 0, 0, 1]]))
    eta, delta = Tensor(np.full((1, 6), 0.3)), Tensor(np.full((1, 2), 0.2))
    assert ops.stagewise_variance(p, eta, delta, stages=(3, 3)).data == pytest.approx(0, abs=1e-9)


def test_variances_of_stages_add_up() -> None:
    """Two stages of two bins, 50 and 25 years wide."""
    p, zeros = Tensor(np.array([[0.5, 0.5, 0.9, 0.1]])), np.zeros((1, 4))
    delta = Tensor(np.zeros((1, 2)))
    variance = ops.stagewise_variance(p, Tensor(zeros), delta, stages=(2, 2), max_age=100)
    assert variance.data == pytest.approx(50**2 * 0.25 + 25**2 * 0.09)


def test_a_held_stretch_has_no_gradient() -> None:
    p = Tensor(np.array([[0.25, 0.75]]), requires_grad=True)
    eta = Tensor(np.zeros((1, 2)))
    delta = Tensor(np.array([[-1.0]]), requires_grad=True)
    StagewiseVariance.apply(
        p, eta, delta, stages=(2,), min_age=0, max_age=1, c_delta=1, c_eta=1, floor=0.5
    ).backward(np.ones(1))
    assert delta.grad == 0
    assert p.grad.any()


def test_the_divergence_is_zero_at_the_label_and_finite_without_variance() -> None:
    zero, ages = Tensor(np.zeros(2)), np.array([20.0, 30.0])
    assert ops.normal_divergence(Tensor(ages), zero, ages, 2.0).item() == 0
    assert ops.normal_divergence(Tensor(ages + 4), zero, ages, 2.0).item() == pytest.approx(2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: ops.huber(x, np.ones(3), delta=0), "delta 0; expected a number above 0"),
        (lambda x: ops.normal_divergence(x, x, np.ones(3), 0), "sigma 0; expected a number"),
        (lambda x: ops.normal_divergence(x, x[:1], np.ones(3), 1), r"means \(3,\) and var"),
        (lambda x: ops.normal_divergence(x, x, np.ones((3, 1)), 1), "shapes must be equal"),
    ],
)
def test_refused_in_one_sentence(call, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(Tensor(np.ones(3)))
