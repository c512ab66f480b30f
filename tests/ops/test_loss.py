"""Losses: values, ties, and targets that don't fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr import Tensor, ops

ALL = [ops.mae, ops.mse, ops.cross_entropy, ops.kl_divergence, ops.binary_cross_entropy]


def test_values() -> None:
    x = np.array([20.0, 30.0, 41.0])
    target = [22, 30, 38]
    assert ops.mae(Tensor(x), target).item() == pytest.approx(5 / 3)
    assert ops.mse(Tensor(x), target).item() == pytest.approx(13 / 3)


def test_no_gradient_at_a_perfect_prediction() -> None:
    x = Tensor(np.array([20.0, 30.0]), requires_grad=True)
    ops.mae(x, np.array([20.0, 31.0])).backward()
    np.testing.assert_array_equal(x.grad, [0, -0.5])


def test_ages_against_a_column_of_ages_are_refused() -> None:
    """The slip of the released code: (N,) against (N, 1) compares everybody with everybody."""
    for loss in (ops.mae, ops.mse):
        with pytest.raises(ValueError, match=r"prediction \(3,\) and a target \(3, 1\)"):
            loss(Tensor(np.ones(3)), np.ones((3, 1)))


@given(st.integers(0, 10_000))
def test_cross_entropy_and_kl_differ_by_the_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, t = Tensor(3 * rng.standard_normal((4, 5))), rng.dirichlet(np.ones(5), 4)
    entropy = -(t * np.log(t)).sum(axis=1).mean()
    difference = ops.cross_entropy(z, t).item() - ops.kl_divergence(z, t).item()
    assert difference == pytest.approx(entropy, abs=1e-12)
    assert ops.kl_divergence(z, t).item() >= 0


def test_kl_is_zero_at_its_target_and_zero_probabilities_cost_nothing() -> None:
    t = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    z = Tensor(np.where(t > 0, np.log(np.maximum(t, 1e-300)), -1e5))
    assert ops.kl_divergence(z, t).item() == pytest.approx(0, abs=1e-15)


def test_a_class_number_is_a_one_hot_row() -> None:
    z, classes = Tensor(np.random.default_rng(0).standard_normal((4, 3))), np.array([2, 0, 1, 1])
    numbers = ops.cross_entropy(z, classes).item()
    assert numbers == pytest.approx(ops.cross_entropy(z, np.eye(3)[classes]).item(), rel=1e-15)
    assert numbers == pytest.approx(-ops.log_softmax(z).data[range(4), classes].mean(), rel=1e-15)


def test_a_loss_an_image_their_sum_and_their_mean() -> None:
    z, classes = Tensor(np.random.default_rng(0).standard_normal((4, 3))), np.array([2, 0, 1, 1])
    each = ops.cross_entropy(z, classes, reduction="none").data
    np.testing.assert_allclose(each, -ops.log_softmax(z).data[range(4), classes], rtol=1e-15)
    assert ops.cross_entropy(z, classes, reduction="sum").item() == pytest.approx(each.sum())
    assert ops.cross_entropy(z, classes).item() == pytest.approx(each.mean())


def test_binary_cross_entropy_is_the_two_class_cross_entropy() -> None:
    z, t = np.random.default_rng(0).standard_normal((6, 1)), np.array([0, 1, 1, 0, 1, 0])
    two = ops.cross_entropy(Tensor(np.hstack([np.zeros_like(z), z])), t).item()
    assert ops.binary_cross_entropy(Tensor(z), t[:, None]).item() == pytest.approx(two, rel=1e-14)


def test_weights_of_tasks() -> None:
    z, t = Tensor(np.array([[1.0, 2.0]])), np.array([[1.0, 0.0]])
    one, other = (ops.binary_cross_entropy(z[:, i : i + 1], t[:, i : i + 1]).item() for i in (0, 1))
    weighted = ops.binary_cross_entropy(z, t, weight=[3.0, 0.5]).item()
    assert weighted == pytest.approx((3 * one + 0.5 * other) / 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ALL)
def test_far_logits_stay_finite(loss, dtype: str) -> None:
    """Wrong by 10,000 costs 10,000, not infinity, and still has a gradient."""
    z = Tensor(np.array([[1e4, -1e4]], dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value = loss(z, np.array([[0.0, 1.0]], dtype))
        value.backward()
    assert value.shape == ()
    assert value.dtype == dtype
    assert value.item() >= 1e3
    assert np.isfinite(z.grad).all()
    assert z.grad.any()


@pytest.mark.parametrize("loss", ALL)
def test_targets_may_be_lists_tensors_and_other_floats(loss) -> None:
    z, target = Tensor(np.zeros((1, 2), np.float32)), [[0.25, 0.75]]
    values = {loss(z, t).item() for t in (target, np.array(target), Tensor(target))}
    assert len(values) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: ops.cross_entropy(z, np.array([0, 3])), "target class 3; expected 0 to 2"),
        (lambda z: ops.cross_entropy(z, np.array([-1, 0])), "target class -1; expected 0 to 2"),
        (lambda z: ops.cross_entropy(z, np.array([0])), r"classes \(1,\); expected \(2,\)"),
        (lambda z: ops.cross_entropy(z[0], np.array([0])), r"logits \(3,\); expected \(N, S\)"),
        (
            lambda z: ops.cross_entropy(z, np.array([0, 1]), "median"),
            "'median' is none of mean, sum, none",
        ),
        (lambda z: ops.kl_divergence(z, np.full((2, 3), -0.5)), "probabilities are not negative"),
        (
            lambda z: ops.binary_cross_entropy(z, np.full((2, 3), 2.0)),
            "from 2.0 to 2.0; expected 0",
        ),
        (lambda z: ops.binary_cross_entropy(z, np.ones((2, 3)), [1.0]), r"weight of shape \(1,\)"),
        (lambda z: ops.mse(z, np.ones((3, 2))), r"\(2, 3\) and a target \(3, 2\).*equal"),
        (lambda z: ops.mae(z[:0], np.ones((0, 3))), r"empty batch \(0, 3\) has no mean"),
    ],
)
def test_refused_in_one_sentence(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Tensor(np.ones((2, 3))))
