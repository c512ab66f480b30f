"""Pooling: Numba beside NumPy, ties, infinities and NaN by the definition, adjoints, PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minissr.kernels import lookup
from tests.kernels.comparing import DTYPES, assert_close, backends_agree, results
from tests.strategies import Pooling, poolings


@given(poolings())
def test_numba_agrees_with_numpy(case: Pooling) -> None:
    shape, geometry, count = case.x_shape, case.geometry, case.count_include_pad
    argmax = results("max_pool_forward", "numpy", case.x(np.float64), *geometry)[1]
    backends_agree("max_pool_forward", lambda t: (case.x(t), *geometry))
    backends_agree("max_pool_backward", lambda t: (case.gy(t), argmax, shape, *geometry))
    backends_agree("avg_pool_forward", lambda t: (case.x(t), *geometry, count))
    backends_agree("avg_pool_backward", lambda t: (case.gy(t), shape, *geometry, count))


def pixels(case: Pooling, i: int, j: int) -> list[tuple[int, int, int]]:
    """Offset, row and column of window (i, j)'s pixels on the image, in row-major order."""
    (kh, kw), (sh, sw), (top, _, left, _) = case.geometry
    _, height, width, _ = case.x_shape
    places = [(u * kw + v, i * sh + u - top, j * sw + v - left) for u, v in np.ndindex(kh, kw)]
    return [(k, h, w) for k, h, w in places if 0 <= h < height and 0 <= w < width]


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_first_maximum_wins_by_the_definition(backend_name: str) -> None:
    """One number at a time: the first NaN if there is one, else the first of the largest."""

    @given(poolings())
    def wins(case: Pooling) -> None:
        for dtype in DTYPES:
            x = case.tied(dtype)
            y, argmax = results("max_pool_forward", backend_name, x, *case.geometry)
            assert argmax.dtype == np.int32
            for n, i, j, c in np.ndindex(y.shape):
                seen = [(k, x[n, h, w, c]) for k, h, w in pixels(case, i, j)]
                nan = [entry for entry in seen if np.isnan(entry[1])]
                place, value = nan[0] if nan else max(seen, key=lambda entry: entry[1])
                assert argmax[n, i, j, c] == place
                np.testing.assert_array_equal(y[n, i, j, c], value)

    wins()


def test_the_whole_gradient_goes_to_the_first_of_equals(backend: str) -> None:
    x, gy = np.zeros((1, 4, 4, 1)), np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    square = ((2, 2), (2, 2), (0, 0, 0, 0))
    _, argmax = lookup("max_pool_forward", backend)(x, *square)
    gx = lookup("max_pool_backward", backend)(gy, argmax, x.shape, *square)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(gx[0, :, :, 0], expected)


def test_padding_never_wins_even_against_minus_infinity(backend: str) -> None:
    x = np.full((1, 2, 2, 1), -np.inf)
    y, argmax = lookup("max_pool_forward", backend)(x, (2, 2), (1, 1), (1, 1, 1, 1))
    np.testing.assert_array_equal(y, np.full((1, 3, 3, 1), -np.inf))
    np.testing.assert_array_equal(argmax[0, :, :, 0], [[3, 2, 2], [1, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_gradients_are_the_adjoints(backend_name: str) -> None:
    """<gy, y> = <gx, x>: with the winners fixed, both poolings are linear."""

    @given(poolings())
    def adjoint(case: Pooling) -> None:
        x, gy = case.x(np.float64), case.gy(np.float64)
        y, argmax = lookup("max_pool_forward", backend_name)(x, *case.geometry)
        gx = lookup("max_pool_backward", backend_name)(gy, argmax, x.shape, *case.geometry)
        np.testing.assert_allclose(np.vdot(gy, y), np.vdot(gx, x), rtol=1e-12, atol=1e-12)
        settings = (*case.geometry, case.count_include_pad)
        y = lookup("avg_pool_forward", backend_name)(x, *settings)
        gx = lookup("avg_pool_backward", backend_name)(gy, x.shape, *settings)
        np.testing.assert_allclose(np.vdot(gy, y), np.vdot(gx, x), rtol=1e-12, atol=1e-12)

    adjoint()


def test_average_counts_padding_or_not(backend: str) -> None:
    x = np.full((1, 2, 2, 1), 6.0)
    corner = ((2, 2), (2, 2), (1, 1, 1, 1))
    counted = lookup("avg_pool_forward", backend)(x, *corner, True)
    left_out = lookup("avg_pool_forward", backend)(x, *corner, False)
    np.testing.assert_array_equal(counted, np.full((1, 2, 2, 1), 1.5))
    np.testing.assert_array_equal(left_out, np.full((1, 2, 2, 1), 6.0))


def test_an_empty_batch_gives_empty_results(backend: str) -> None:
    x, geometry = np.zeros((0, 7, 5, 4)), ((3, 2), (2, 2), (1, 1, 0, 1))
    y, argmax = lookup("max_pool_forward", backend)(x, *geometry)
    assert y.shape == argmax.shape == (0, 4, 3, 4)
    gx = lookup("max_pool_backward", backend)(y, argmax, x.shape, *geometry)
    assert gx.shape == x.shape
    assert lookup("avg_pool_forward", backend)(x, *geometry, False).shape == y.shape
    assert lookup("avg_pool_backward", backend)(y, x.shape, *geometry, False).shape == x.shape


@given(poolings())
def test_numpy_agrees_with_pytorch(case: Pooling) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    top, bottom, left, right = case.padding
    edges = (left, right, top, bottom)
    gy = case.gy(np.float64)
    functional, geometry = torch.nn.functional, (case.size, case.stride)

    x = torch.tensor(case.x(np.float64), requires_grad=True)
    padded = functional.pad(x.permute(0, 3, 1, 2), edges, value=-torch.inf)
    y = functional.max_pool2d(padded, *geometry).permute(0, 2, 3, 1)
    y.backward(torch.tensor(gy))
    ours, argmax = lookup("max_pool_forward", "numpy")(case.x(np.float64), *case.geometry)
    gx = lookup("max_pool_backward", "numpy")(gy, argmax, case.x_shape, *case.geometry)
    assert_close(ours, y.detach().numpy(), np.float64)
    assert_close(gx, x.grad.numpy(), np.float64)

    x = torch.tensor(case.x(np.float64), requires_grad=True)
    padded = functional.pad(x.permute(0, 3, 1, 2), edges)
    y = functional.avg_pool2d(padded, *geometry).permute(0, 2, 3, 1)
    y.backward(torch.tensor(gy))
    ours = lookup("avg_pool_forward", "numpy")(case.x(np.float64), *case.geometry, True)
    gx = lookup("avg_pool_backward", "numpy")(gy, case.x_shape, *case.geometry, True)
    assert_close(ours, y.detach().numpy(), np.float64)
    assert_close(gx, x.grad.numpy(), np.float64)
