"""Batch norm: Numba beside NumPy, what normalised means, means far from zero, PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minissr.kernels import lookup
from tests.kernels.comparing import assert_close, backends_agree, results
from tests.strategies import Normalisation, normalisations

TRAIN, TRAIN_GRAD = "batch_norm_train_forward", "batch_norm_train_backward"
EVAL, EVAL_GRAD = "batch_norm_eval_forward", "batch_norm_eval_backward"


@given(normalisations())
def test_numba_agrees_with_numpy(case: Normalisation) -> None:
    def measured(t: type) -> tuple[np.ndarray, np.ndarray]:
        return results(TRAIN, "numpy", case.x(t), *case.parameters(t), case.eps)[1:]

    def gamma(t: type) -> np.ndarray:
        return case.parameters(t)[0]

    eps = case.eps
    backends_agree(TRAIN, lambda t: (case.x(t), *case.parameters(t), eps))
    backends_agree(TRAIN_GRAD, lambda t: (case.gy(t), case.x(t), gamma(t), *measured(t), eps))
    backends_agree(EVAL, lambda t: (case.x(t), *case.parameters(t), *case.statistics(t), eps))
    backends_agree(EVAL_GRAD, lambda t: (case.gy(t), case.x(t), gamma(t), *case.statistics(t), eps))


def test_numba_agrees_on_many_rows() -> None:
    """More rows than one chunk takes, in an odd number."""
    case = Normalisation(1, (23, 29, 31, 16))
    backends_agree(TRAIN, lambda t: (case.x(t), *case.parameters(t), case.eps))


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_output_has_mean_0_and_variance_1(backend_name: str) -> None:
    @given(normalisations())
    def normalised(case: Normalisation) -> None:
        channels, axes = case.x_shape[-1], tuple(range(len(case.x_shape) - 1))
        one, zero = np.ones(channels), np.zeros(channels)
        x = case.x(np.float64)
        y, mean, var = lookup(TRAIN, backend_name)(x, one, zero, 0.0)
        np.testing.assert_allclose(y.mean(axis=axes), zero, atol=1e-12)
        np.testing.assert_allclose(y.var(axis=axes), one, atol=1e-12)
        np.testing.assert_allclose(mean, x.mean(axis=axes), rtol=1e-12)
        np.testing.assert_allclose(var, x.var(axis=axes), rtol=1e-12)

    normalised()


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_gradient_ignores_shift_and_scale(backend_name: str) -> None:
    """y doesn't change when x is shifted or (eps = 0) stretched, so gx has no part along either."""

    @given(normalisations())
    def orthogonal(case: Normalisation) -> None:
        x, gy, (gamma, beta) = case.x(np.float64), case.gy(np.float64), case.parameters(np.float64)
        _, mean, var = lookup(TRAIN, backend_name)(x, gamma, beta, 0.0)
        gx, ggamma, gbeta = lookup(TRAIN_GRAD, backend_name)(gy, x, gamma, mean, var, 0.0)
        axes = tuple(range(x.ndim - 1))
        np.testing.assert_allclose(gx.sum(axis=axes), 0, atol=1e-11)
        np.testing.assert_allclose((gx * (x - mean)).sum(axis=axes), 0, atol=1e-10)
        np.testing.assert_allclose(gbeta, gy.sum(axis=axes), atol=1e-12)
        xhat = (x - mean) / np.sqrt(var)
        np.testing.assert_allclose(ggamma, (gy * xhat).sum(axis=axes), atol=1e-11)

    orthogonal()


def test_variance_survives_a_mean_far_from_zero(backend: str) -> None:
    """mean 10,000 and spread 1 in float32: E[x^2] - E[x]^2 would be off by several units."""
    x = (10_000 + np.random.default_rng(0).normal(size=(500, 3, 2))).astype(np.float32)
    _, mean, var = lookup(TRAIN, backend)(x, np.ones(2, np.float32), np.zeros(2, np.float32), 0.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 1)), rtol=1e-7)
    np.testing.assert_allclose(var, exact.var(axis=(0, 1)), rtol=1e-5)


def test_mean_of_many_float32_rows(backend: str) -> None:
    """A float32 running sum of these would be off in the fourth digit."""
    x = np.full((200_000, 1), 0.1, np.float32)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    _, mean, var = lookup(TRAIN, backend)(x, one, zero, 1e-3)
    np.testing.assert_array_equal(mean, x[0])
    np.testing.assert_array_equal(var, zero)


def test_evaluation_takes_an_empty_batch(backend: str) -> None:
    x, c = np.zeros((0, 5, 4, 3)), np.ones(3)
    assert lookup(EVAL, backend)(x, c, c, c, c, 1e-3).shape == x.shape
    gx, ggamma, gbeta = lookup(EVAL_GRAD, backend)(x, x, c, c, c, 1e-3)
    assert gx.shape == x.shape
    np.testing.assert_array_equal(ggamma, np.zeros(3))
    np.testing.assert_array_equal(gbeta, np.zeros(3))


@given(normalisations())
def test_numpy_agrees_with_pytorch(case: Normalisation) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    channels = case.x_shape[-1]
    x, gy = case.x(np.float64), case.gy(np.float64)
    gamma, beta = case.parameters(np.float64)
    for training in (True, False):
        theirs = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        mean, var = case.statistics(np.float64)
        running = (None, None) if training else (torch.tensor(mean), torch.tensor(var))
        expected = torch.nn.functional.batch_norm(
            theirs[0].reshape(-1, channels), *running, *theirs[1:], training, 0.0, case.eps
        ).reshape(case.x_shape)
        expected.backward(torch.tensor(gy))
        if training:
            y, mean, var = lookup(TRAIN, "numpy")(x, gamma, beta, case.eps)
        else:
            y = lookup(EVAL, "numpy")(x, gamma, beta, mean, var, case.eps)
        kernel = TRAIN_GRAD if training else EVAL_GRAD
        grads = lookup(kernel, "numpy")(gy, x, gamma, mean, var, case.eps)
        assert_close(y, expected.detach().numpy(), np.float64)
        for got, tensor in zip(grads, theirs, strict=True):
            assert_close(got, tensor.grad.numpy(), np.float64)
