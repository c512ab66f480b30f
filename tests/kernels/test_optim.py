"""The optimisers' steps: the published formulas number by number, Numba beside NumPy, PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minissr.kernels import lookup
from tests.kernels.comparing import DTYPES, assert_close

STEPS, LR, B1, B2, EPS = 6, 0.01, 0.9, 0.999, 1e-3
COUNT = 8192 + 5  # more than one block


def gradients(dtype: type, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(STEPS, count)).astype(dtype)


def start(dtype: type, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(8).normal(size=count).astype(dtype)


def adam(backend: str, form: str, dtype: type, count: int = COUNT) -> tuple[np.ndarray, ...]:
    """param, m, v after STEPS steps."""
    param, m, v = start(dtype, count), np.zeros(count, dtype), np.zeros(count, dtype)
    for t, grad in enumerate(gradients(dtype, count), start=1):
        before = grad.copy()
        lookup("adam_step", backend)(param, grad, m, v, t, LR, B1, B2, EPS, form)
        np.testing.assert_array_equal(grad, before)
    return param, m, v


def sgd(backend: str, momentum: float, nesterov: bool, dtype: type) -> tuple[np.ndarray, ...]:
    """param, velocity after STEPS steps."""
    param, velocity = start(dtype), np.zeros(COUNT, dtype)
    for grad in gradients(dtype):
        before = grad.copy()
        lookup("sgd_step", backend)(param, grad, velocity, LR, momentum, nesterov)
        np.testing.assert_array_equal(grad, before)
    return param, velocity


@pytest.mark.parametrize("form", ["keras", "pytorch"])
def test_adam_by_the_formula(backend: str, form: str) -> None:
    got = adam(backend, form, np.float64, count=4)
    for i, p in enumerate(start(np.float64, 4)):
        m = v = 0.0
        for t, g in enumerate(gradients(np.float64, 4)[:, i], start=1):
            m = B1 * m + (1 - B1) * g
            v = B2 * v + (1 - B2) * g**2
            if form == "keras":
                rate = LR * math.sqrt(1 - B2**t) / (1 - B1**t)
                p -= rate * m / (math.sqrt(v) + EPS)
            else:
                m_hat, v_hat = m / (1 - B1**t), v / (1 - B2**t)
                p -= LR * m_hat / (math.sqrt(v_hat) + EPS)
        np.testing.assert_allclose([a[i] for a in got], [p, m, v], rtol=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_the_formula(backend: str, nesterov: bool) -> None:
    param, velocity = sgd(backend, 0.9, nesterov, np.float64)
    for i in (0, COUNT - 1):
        p, v = start(np.float64)[i], 0.0
        for g in gradients(np.float64)[:, i]:
            v = 0.9 * v - LR * g
            p = p + 0.9 * v - LR * g if nesterov else p + v
        np.testing.assert_allclose([param[i], velocity[i]], [p, v], rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numba_agrees_with_numpy(dtype: type) -> None:
    for form in ("keras", "pytorch"):
        for a, b in zip(adam("numba", form, dtype), adam("numpy", form, dtype), strict=True):
            assert_close(a, b, dtype, form)
    for nesterov in (False, True):
        pairs = zip(
            sgd("numba", 0.9, nesterov, dtype), sgd("numpy", 0.9, nesterov, dtype), strict=True
        )
        for a, b in pairs:
            assert_close(a, b, dtype, "sgd")


def test_unknown_form_is_refused(backend: str) -> None:
    a = np.zeros(3)
    with pytest.raises(ValueError, match="'amsgrad' is neither keras nor pytorch"):
        lookup("adam_step", backend)(a, a, a, a, 1, LR, B1, B2, EPS, "amsgrad")


def test_numpy_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def theirs(optimizer: type, **settings: object) -> np.ndarray:
        param = torch.nn.Parameter(torch.tensor(start(np.float64)))
        steps = optimizer([param], lr=LR, **settings)
        for grad in gradients(np.float64):
            param.grad = torch.tensor(grad)
            steps.step()
        return param.detach().numpy()

    expected = theirs(torch.optim.Adam, betas=(B1, B2), eps=EPS)
    np.testing.assert_allclose(adam("numpy", "pytorch", np.float64)[0], expected, rtol=1e-12)
    for nesterov in (False, True):
        expected = theirs(torch.optim.SGD, momentum=0.9, nesterov=nesterov)
        got = sgd("numpy", 0.9, nesterov, np.float64)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-11)
