"""Stagewise regression: Numba beside NumPy, the definition, the floor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minissr.kernels import lookup
from tests.kernels.comparing import backends_agree, results
from tests.strategies import Regression, regressions

FORWARD, BACKWARD = "stagewise_forward", "stagewise_backward"


@given(regressions())
def test_numba_agrees_with_numpy(case: Regression) -> None:
    def inputs(t: type) -> tuple[np.ndarray, ...]:
        return case.p(t), case.eta(t), case.delta(t)

    def found(t: type) -> tuple[np.ndarray, ...]:
        return results(FORWARD, "numpy", *inputs(t), *case.settings)[1:]

    backends_agree(FORWARD, lambda t: (*inputs(t), *case.settings))
    backends_agree(BACKWARD, lambda t: (case.g_age(t), *inputs(t), *found(t), *case.settings))


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_by_the_definition(backend_name: str) -> None:
    """Equations 4 to 7 of Yang et al. 2018, one image and one bin at a time."""

    @given(regressions())
    def agrees(case: Regression) -> None:
        p, eta, delta = case.p(np.float64), case.eta(np.float64), case.delta(np.float64)
        age, width, index = lookup(FORWARD, backend_name)(p, eta, delta, *case.settings)
        for n in range(case.n):
            expected, w, first = case.min_age, case.max_age - case.min_age, 0
            for k, s in enumerate(case.stages):
                w /= s * (1 + case.c_delta * delta[n, k])
                bins = range(first, first + s)
                q = sum(p[n, b] * (i + case.c_eta * eta[n, b]) for i, b in enumerate(bins))
                expected, first = expected + w * q, first + s
                np.testing.assert_allclose([width[n, k], index[n, k]], [w, q], rtol=1e-12)
            np.testing.assert_allclose(age[n], expected, rtol=1e-12)

    agrees()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_floor_bounds_the_width_and_stops_the_gradient(backend: str, dtype: type) -> None:
    p, eta = np.full((3, 4), 0.5, dtype), np.zeros((3, 4), dtype)
    delta = np.array([[-1.0, 0.0], [-0.75, 0.0], [-0.5, 0.0]], dtype)  # below, at, above
    settings = ((2, 2), 0.0, 100.0, 1.0, 1.0, 0.25)
    age, width, index = lookup(FORWARD, backend)(p, eta, delta, *settings)
    np.testing.assert_array_equal(width[:, 0], np.array([200, 200, 100], dtype))
    np.testing.assert_array_equal(age, np.array([150, 150, 75], dtype))
    saved = (p, eta, delta, width, index)
    *_, gdelta = lookup(BACKWARD, backend)(np.ones(3, dtype), *saved, *settings)
    np.testing.assert_array_equal(gdelta[:, 0], np.array([0, 0, -150], dtype))
    assert (gdelta[:, 1] < 0).all()


def test_an_empty_batch_gives_empty_results(backend: str) -> None:
    settings = ((3, 2), 0.0, 101.0, 1.0, 1.0, 1e-3)
    p, delta = np.zeros((0, 5)), np.zeros((0, 2))
    age, width, index = lookup(FORWARD, backend)(p, p, delta, *settings)
    assert (age.shape, width.shape, index.shape) == ((0,), (0, 2), (0, 2))
    grads = lookup(BACKWARD, backend)(age, p, p, delta, width, index, *settings)
    assert [g.shape for g in grads] == [(0, 5), (0, 5), (0, 2)]
