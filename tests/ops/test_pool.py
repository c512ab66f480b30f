"""Pooling: the definition in loops, ties, padding, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr import Tensor, ops, use_backend
from minissr.ops.pool import window_geometry
from tests.conftest import CPU_BACKENDS
from tests.ops.case import Case
from tests.ops.image_cases import pools


def by_the_definition(x: np.ndarray, geometry, reduce) -> np.ndarray:
    """`reduce` of the pixels of each window that lie on the image."""
    (kh, kw), (sh, sw), (top, bottom, left, right) = geometry
    n, h, w, c = x.shape
    oh, ow = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
    y = np.empty((n, oh, ow, c))
    for i, j in np.ndindex(oh, ow):
        rows = slice(max(i * sh - top, 0), i * sh - top + kh)
        columns = slice(max(j * sw - left, 0), j * sw - left + kw)
        y[:, i, j] = reduce(x[:, rows, columns])
    return y


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_definition(backend: str) -> None:
    @given(pools(), st.booleans())
    def agrees(case: Case, count_include_pad: bool) -> None:
        (x,) = case.inputs
        geometry = window_geometry("pool", x, **case.settings)
        with use_backend(backend):
            largest = ops.max_pool(Tensor(x), **case.settings).data
            mean = ops.avg_pool(
                Tensor(x), **case.settings, count_include_pad=count_include_pad
            ).data

        def average(window: np.ndarray) -> np.ndarray:
            pixels = window.shape[1] * window.shape[2]
            return window.sum(axis=(1, 2)) / (np.prod(geometry[0]) if count_include_pad else pixels)

        maxima = by_the_definition(x, geometry, lambda window: window.max(axis=(1, 2)))
        np.testing.assert_array_equal(largest, maxima)
        np.testing.assert_allclose(mean, by_the_definition(x, geometry, average), atol=1e-13)

    agrees()


@given(pools())
def test_an_image_moved_by_a_stride_gives_windows_moved_by_one(case: Case) -> None:
    (x,), settings = case.inputs, {**case.settings, "padding": "valid"}
    (down, _), size = window_geometry("pool", x, **settings)[1::-1]
    if x.shape[1] >= size[0] + down:
        for op in (ops.max_pool, ops.avg_pool):
            moved, still = op(Tensor(x[:, down:]), **settings), op(Tensor(x), **settings)
            np.testing.assert_array_equal(moved.data, still.data[:, 1:])


@given(pools(), st.floats(0, 3), st.floats(-5, 5))
def test_stretching_and_shifting_pixels_does_so_to_windows(case: Case, a: float, b: float) -> None:
    (x,) = case.inputs
    for op in (ops.max_pool, ops.avg_pool):
        pooled = op(Tensor(x), **case.settings).data
        changed = op(Tensor(a * x + b), **case.settings).data
        np.testing.assert_allclose(changed, a * pooled + b, rtol=0, atol=1e-13)


def test_a_tie_goes_to_the_first(backend: str) -> None:
    x = Tensor(np.zeros((1, 4, 4, 1)), requires_grad=True)
    with use_backend(backend):
        ops.max_pool(x).sum().backward()
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(x.grad[0, :, :, 0], expected)


def test_a_tie_in_overlapping_windows(backend: str) -> None:
    """Row-major first: the middle column is the first of the right window alone."""
    x = Tensor(np.array([[1.0, 5.0, 5.0], [5.0, 5.0, 1.0]])[None, :, :, None], requires_grad=True)
    with use_backend(backend):
        ops.max_pool(x, size=2, stride=1).backward(np.array([1.0, 10.0]).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(x.grad[0, :, :, 0], [[0, 11, 0], [0, 0, 0]])


def test_padding_never_wins(backend: str) -> None:
    x = Tensor(np.full((1, 3, 3, 1), -1e30), requires_grad=True)
    with use_backend(backend):
        y = ops.max_pool(x, size=3, stride=1, padding=1)
        y.sum().backward()
    assert (y.data == -1e30).all()
    assert x.grad.sum() == 9


def test_one_pixel_can_win_every_window(backend: str) -> None:
    x = Tensor(np.zeros((1, 3, 3, 1)), requires_grad=True)
    x.data[0, 1, 1, 0] = 1
    with use_backend(backend):
        ops.max_pool(x, size=2, stride=1).sum().backward()
    assert x.grad[0, 1, 1, 0] == x.grad.sum() == 4


def test_rows_that_fill_no_window_get_no_gradient(backend: str) -> None:
    """As in the released network: 14 rows in windows of 4 leave rows 12 and 13 out."""
    x = Tensor(np.random.default_rng(0).standard_normal((1, 14, 14, 1)), requires_grad=True)
    with use_backend(backend):
        y = ops.avg_pool(x, 4)
        y.sum().backward()
    assert y.shape == (1, 3, 3, 1)
    assert not x.grad[:, 12:].any()
    assert (x.grad[:, :12, :12] == 1 / 16).all()


def test_average_of_a_constant_is_that_constant_up_to_the_edge(backend: str) -> None:
    x = Tensor(np.full((1, 5, 5, 2), 3.0))
    with use_backend(backend):
        edge = ops.avg_pool(x, 3, 2, "same").data
        counted = ops.avg_pool(x, 3, 2, "same", count_include_pad=True).data
    np.testing.assert_allclose(edge, 3, rtol=1e-15)
    np.testing.assert_allclose(counted[0, 0, 0], 3 * 4 / 9, rtol=1e-14)


def test_global_average() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    np.testing.assert_allclose(ops.global_avg_pool(Tensor(x)).data, x.mean(axis=(1, 2)), rtol=1e-13)
    with pytest.raises(ValueError, match=r"x \(3, 5, 4\); expected \(N, H, W, C\)"):
        ops.global_avg_pool(Tensor(x[0]))


@pytest.mark.parametrize("op", [ops.max_pool, ops.avg_pool])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size 0; expected an integer >= 1"),
        ({"size": 6}, r"window \(6, 6\) is larger than the image \(5, 5\)"),
        ({"stride": -1}, "stride -1; expected"),
        ({"padding": 2}, r"padding \(2, 2, 2, 2\).* window \(2, 2\); each must be smaller"),
        ({"padding": "none"}, "padding 'none'; expected 'valid', 'same'"),
    ],
)
def test_refused_in_one_sentence(op, arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        op(Tensor(np.ones((1, 5, 5, 1))), **arguments)
    with pytest.raises(ValueError, match=r"x \(5, 5\); expected \(N, H, W, C\)"):
        op(Tensor(np.ones((5, 5))))
