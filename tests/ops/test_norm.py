"""Batch norm: what it makes of a batch, what it remembers, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minissr import Tensor, ops, use_backend
from tests.conftest import CPU_BACKENDS
from tests.ops.case import Case
from tests.ops.image_cases import batch_norms


def tensors(case: Case) -> list[Tensor]:
    return [Tensor(a, requires_grad=True) for a in case.inputs]


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_batch_comes_out_with_mean_beta_and_deviation_gamma(backend: str) -> None:
    @given(batch_norms(train=True))
    def holds(case: Case) -> None:
        x, gamma, beta = case.inputs
        eps = case.settings["eps"]
        with use_backend(backend):
            y, mean, var = ops.batch_norm(*tensors(case), eps=eps)
        rows = x.reshape(-1, x.shape[-1])
        np.testing.assert_allclose(mean, rows.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(var, rows.var(axis=0), atol=1e-12)  # biased: divided by M
        out = y.data.reshape(rows.shape)
        np.testing.assert_allclose(out.mean(axis=0), beta, atol=1e-10)
        expected = gamma**2 * rows.var(axis=0) / (rows.var(axis=0) + eps)
        np.testing.assert_allclose(out.var(axis=0), expected, atol=1e-9)

    holds()


@given(batch_norms(train=True))
def test_a_batch_s_gradient_has_no_part_along_shift_or_scale(case: Case) -> None:
    """Shifting or (but for eps) scaling a channel changes nothing, so gx is at right angles."""
    x, gamma, beta = tensors(case)
    with use_backend("numpy"):
        y, mean, var = ops.batch_norm(x, gamma, beta, eps=0.0)
        y.backward(np.random.default_rng(1).standard_normal(y.shape))
    rows = x.grad.reshape(-1, x.shape[-1])
    centred = x.data.reshape(rows.shape) - mean
    size = abs(gamma.data) / np.sqrt(var)  # of gx, if nothing cancelled
    np.testing.assert_allclose(rows.sum(axis=0) / size, 0, atol=1e-8)
    np.testing.assert_allclose((rows * centred).sum(axis=0) / size, 0, atol=1e-7)


@given(batch_norms(train=False))
def test_evaluation_is_affine_and_returns_what_it_was_given(case: Case) -> None:
    x, gamma, beta = tensors(case)
    mean, var, eps = (case.settings[name] for name in ("mean", "var", "eps"))
    with use_backend("numpy"):
        y, same_mean, same_var = ops.batch_norm(x, gamma, beta, mean, var, eps)
        assert same_mean is mean
        assert same_var is var
        y.backward(np.ones(y.shape))
    slope = gamma.data / np.sqrt(var + eps)
    np.testing.assert_allclose(y.data, slope * (x.data - mean) + beta.data, atol=1e-12)
    np.testing.assert_allclose(x.grad, np.broadcast_to(slope, x.shape), atol=1e-12)


def test_training_statistics_used_in_evaluation_give_the_same(backend: str) -> None:
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(5, 2, (3, 4, 4, 2)))
    gamma, beta = Tensor(rng.uniform(0.5, 2, 2)), Tensor(rng.standard_normal(2))
    with use_backend(backend):
        y, mean, var = ops.batch_norm(x, gamma, beta)
        z, _, _ = ops.batch_norm(x, gamma, beta, mean, var)
    np.testing.assert_allclose(y.data, z.data, atol=1e-13)


def test_float32_pixels_with_a_large_mean_keep_their_digits(backend: str) -> None:
    """sum x^2 - mean^2 would lose them; mean 1000, standard deviation 1."""
    x = np.random.default_rng(0).normal(1000, 1, (64, 8, 8, 1)).astype(np.float32)
    one, zero = Tensor(np.ones(1, np.float32)), Tensor(np.zeros(1, np.float32))
    with use_backend(backend):
        _, mean, var = ops.batch_norm(Tensor(x), one, zero)
    assert mean == pytest.approx(x.astype(np.float64).mean(), abs=1e-3)
    assert var == pytest.approx(x.astype(np.float64).var(), rel=1e-4)


ONE = {"gamma": Tensor(np.ones(2)), "beta": Tensor(np.zeros(2))}


@pytest.mark.parametrize("shape", [(1, 2), (1, 1, 1, 2), (0, 2)])
def test_a_single_value_a_channel_is_refused_in_training_only(shape) -> None:
    with pytest.raises(
        ValueError, match=r"needs two or more values a channel.*larger batch, or eval"
    ):
        ops.batch_norm(Tensor(np.ones(shape)), **ONE)
    y, _, _ = ops.batch_norm(Tensor(np.ones(shape)), **ONE, mean=np.zeros(2), var=np.ones(2))
    assert y.shape == shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": Tensor(np.ones(3))}, r"gamma of shape \(3,\); expected \(2,\)"),
        ({"beta": Tensor(np.ones((1, 2)))}, r"beta of shape \(1, 2\); expected \(2,\)"),
        ({"mean": np.ones(3), "var": np.ones(2)}, r"mean of shape \(3,\)"),
        ({"mean": np.ones(2)}, r"one of mean and var; give both \(evaluation\) or neither"),
        ({"eps": -1.0}, "eps -1.0; expected a number >= 0"),
        ({"x": Tensor(np.ones(2))}, r"x \(2,\); expected \(..., C\)"),
    ],
)
def test_refused_in_one_sentence(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.batch_norm(**{"x": Tensor(np.ones((4, 2))), **ONE, **arguments})
