"""Activations: values, kinks, extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr import Tensor, ops
from minissr.autograd.function import no_grad


def gradient(op, *values: float, dtype: str = "float64", **settings) -> list[float]:
    x = Tensor(np.array(values, dtype), requires_grad=True)
    op(x, **settings).backward(np.ones(len(values), dtype))
    assert x.grad.dtype == dtype
    return x.grad.tolist()


def test_kinks_are_where_they_are_said_to_be() -> None:
    assert gradient(ops.relu, -1, 0, -0.0, 1) == [0, 0, 0, 1]
    assert gradient(ops.relu6, -1, 0, 3, 6, 7) == [0, 0, 1, 0, 0]
    assert gradient(ops.leaky_relu, -1, 0, 1, slope=0.25) == [0.25, 0.25, 1]
    assert gradient(ops.absolute, -2, 0, 2) == [-1, 0, 1]
    assert gradient(ops.clip, -2, -1, 0, 1, 2, low=-1, high=1) == [0, 0, 1, 0, 0]


def test_values() -> None:
    x = np.linspace(-8, 8, 33)
    t = Tensor(x)
    for got, expected in [
        (ops.relu(t), np.maximum(x, 0)),
        (ops.relu6(t), np.clip(x, 0, 6)),
        (ops.leaky_relu(t, 0.3), np.where(x > 0, x, 0.3 * x)),
        (ops.tanh(t), np.tanh(x)),
        (ops.sigmoid(t), 1 / (1 + np.exp(-x))),
        (ops.softplus(t), np.log(1 + np.exp(x))),
        (ops.softmax(t), np.exp(x) / np.exp(x).sum()),
        (ops.log_softmax(t), x - np.log(np.exp(x).sum())),
    ]:
        np.testing.assert_allclose(got.data, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [ops.sigmoid, ops.softplus, ops.tanh, ops.softmax, ops.log_softmax])
def test_extremes_stay_finite_both_ways(op, dtype: str) -> None:
    """No overflow warning either: an exponential of a large number is never taken."""
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = Tensor(np.array([-1e4, -100, 0, 100, 1e4], dtype), requires_grad=True)
        y = op(x)
        y.sum().backward()
    assert np.isfinite(y.data).all()
    assert np.isfinite(x.grad).all()


def test_tails_keep_their_digits() -> None:
    """sigmoid(-40) is e^-40, not 0; softplus(-40) likewise."""
    np.testing.assert_allclose(ops.sigmoid(Tensor(np.array(-40.0))).data, np.exp(-40), rtol=1e-12)
    np.testing.assert_allclose(ops.softplus(Tensor(np.array(-40.0))).data, np.exp(-40), rtol=1e-12)
    log = ops.log_softmax(Tensor(np.array([0.0, 1000.0])))
    np.testing.assert_array_equal(log.data, [-1000, 0])


@pytest.mark.parametrize("op", [ops.relu, ops.relu6, ops.leaky_relu, ops.tanh, ops.softplus])
def test_nan_is_passed_on(op) -> None:
    assert np.isnan(op(Tensor(np.array([np.nan]))).data).all()


@given(st.integers(0, 10_000), st.sampled_from([(5,), (3, 4), (2, 3, 4)]), st.data())
def test_softmax_is_a_distribution_and_ignores_shifts(seed: int, shape, data) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = 5 * np.random.default_rng(seed).standard_normal(shape)
    y = ops.softmax(Tensor(x), axis).data
    assert (y > 0).all()
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-13)
    np.testing.assert_allclose(ops.softmax(Tensor(x + 50), axis).data, y, rtol=1e-11)
    np.testing.assert_allclose(np.exp(ops.log_softmax(Tensor(x), axis).data), y, rtol=1e-11)


@pytest.mark.parametrize("op", [ops.softmax, ops.log_softmax])
def test_softmax_axis(op) -> None:
    with pytest.raises(ValueError, match="over axis 2 of 2; expected -2 to 1"):
        op(Tensor(np.ones((2, 3))), axis=2)


# ---- dropout ----------------------------------------------------------------------------------


def test_dropout_keeps_the_mean() -> None:
    rng = np.random.default_rng(0)
    y = ops.dropout(Tensor(np.ones(100_000)), 0.2, rng).data
    assert sorted(set(y)) == [0, 1.25]
    assert abs(y.mean() - 1) < 0.01


def test_dropout_at_its_ends() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    np.testing.assert_array_equal(ops.dropout(x, 0.0, rng).data, x.data)
    assert rng.bit_generator.state == state
    nothing = ops.dropout(x, 1.0, rng)
    np.testing.assert_array_equal(nothing.data, [0, 0])
    nothing.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0])


def test_dropout_masks_come_from_the_generator_and_nothing_else() -> None:
    ones = {dtype: Tensor(np.ones((7, 5), dtype)) for dtype in ("float32", "float64")}
    masks = [ops.dropout(ones["float64"], 0.5, np.random.default_rng(3)).data > 0 for _ in "ab"]
    single = ops.dropout(ones["float32"], 0.5, np.random.default_rng(3))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], single.data > 0)
    with no_grad():
        again = ops.dropout(ones["float64"], 0.5, np.random.default_rng(3)).data > 0
    np.testing.assert_array_equal(masks[0], again)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_dropout_rate(rate: float) -> None:
    with pytest.raises(ValueError, match=r"dropout rate .*expected 0 \(keep all\) to 1"):
        ops.dropout(Tensor(np.ones(2)), rate, np.random.default_rng(0))


def test_dropout_wants_a_generator() -> None:
    with pytest.raises(ValueError, match=r"needs rng=np.random.default_rng\(seed\), got 0"):
        ops.dropout(Tensor(np.ones(2)), 0.5, 0)
