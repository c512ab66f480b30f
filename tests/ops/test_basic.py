"""Arithmetic, products, reductions, indexing: against NumPy, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr import Tensor, ops
from minissr.ops.arrange import picks_once
from minissr.ops.basic import unbroadcast


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_unbroadcast_counts_every_copy(shape: list[int], data) -> None:
    """Broadcasting ones and summing back gives the number of copies of each element."""
    kept = data.draw(st.integers(0, len(shape)))
    small = [data.draw(st.sampled_from([1, n])) for n in shape[kept:]]
    back = unbroadcast(np.ones(shape), tuple(small))
    assert back.shape == tuple(small)
    assert (back == np.prod(shape) / np.prod(small)).all()


def test_broadcasting_through_a_zero_length_and_a_scalar() -> None:
    x, empty = Tensor(np.array(2.0), requires_grad=True), Tensor(np.ones((0, 3)))
    (x * empty).sum().backward()
    assert x.grad == 0
    assert x.grad.shape == ()


def test_shapes_that_do_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) ?\(3,\)|\(2,\).*\(3,\)"):
        ops.add(Tensor(np.ones(2)), Tensor(np.ones(3)))


def test_a_power_of_zero_is_flat_even_at_zero() -> None:
    x = Tensor(np.array([0.0, 2.0]), requires_grad=True)
    ops.power(x, 0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), r"\(2, 3\) and \(2, 3\): 3 is not 2"),
        (np.ones(3), np.ones(2), "3 is not 2"),
        (np.array(1.0), np.ones(2), r"use \* for a number"),
    ],
)
def test_matmul_refuses(a, b, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.matmul(Tensor(a), Tensor(b))


def test_dense_is_matmul_plus_bias_and_checks_shapes() -> None:
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 2)), rng.standard_normal(2)
    got = ops.dense(Tensor(x), Tensor(w), Tensor(b))
    np.testing.assert_allclose(got.data, x @ w + b, rtol=1e-14)
    with pytest.raises(
        ValueError, match=r"x \(4, 3\) and w \(2, 3\); expected \(N, I\) and \(I, O"
    ):
        ops.dense(Tensor(x), Tensor(w.T), Tensor(b))
    with pytest.raises(ValueError, match=r"bias of shape \(2, 1\); expected \(2,\)"):
        ops.dense(Tensor(x), Tensor(w), Tensor(b[:, None]))


def test_flatten_is_in_height_width_channel_order() -> None:
    x = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    flat = ops.flatten(Tensor(x)).data
    assert flat.shape == (2, 60)
    h, w, c = 1, 2, 3
    assert flat[1, (h * 4 + w) * 5 + c] == x[1, h, w, c]
    for axis, shape in ((0, (1, 120)), (-1, (24, 5)), (4, (120, 1))):
        assert ops.flatten(Tensor(x), axis).shape == shape
    with pytest.raises(ValueError, match="axis 5 of 4; expected -4 to 4"):
        ops.flatten(Tensor(x), 5)


def test_an_axis_that_is_not_there_is_refused() -> None:
    x = Tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match="concat over axis 2 of 2; expected -2 to 1"):
        ops.concat([x, x], axis=2)
    with pytest.raises(ValueError, match="transpose over axis -3 of 2; expected -2 to 1"):
        ops.transpose(x, (0, -3))


def test_an_element_picked_twice_collects_twice() -> None:
    x = Tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    x[np.array([0, 2, 0, 0])].backward(np.array([1.0, 10.0, 100.0, 1000.0]))
    np.testing.assert_array_equal(x.grad, [1101, 0, 10])


def test_which_keys_pick_once() -> None:
    assert picks_once((1, slice(None), None, ...))
    assert not picks_once([0, 0])
    assert not picks_once((slice(None), np.array([0, 0])))


def test_a_view_does_not_tie_gradients_together() -> None:
    """Reshape and index return views; nothing writes through them."""
    x = Tensor(np.arange(6.0), requires_grad=True)
    y = x.reshape(2, 3)
    (y[0] * 2.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2, 0, 0, 0])
    np.testing.assert_array_equal(x.data, np.arange(6.0))


def test_concat() -> None:
    a, b = (Tensor(np.full((2, n), float(n)), requires_grad=True) for n in (1, 3))
    y = ops.concat([a, b])
    np.testing.assert_array_equal(y.data, [[1, 3, 3, 3]] * 2)
    y.backward(np.arange(8.0).reshape(2, 4))
    np.testing.assert_array_equal(a.grad, [[0], [4]])
    np.testing.assert_array_equal(b.grad, [[1, 2, 3], [5, 6, 7]])
    assert b.grad.flags.c_contiguous


def test_cast_takes_pixels_in_and_gives_gradients_back_in_their_type() -> None:
    pixels = ops.cast(Tensor(np.array([0, 255], np.uint8)), "float32")
    assert pixels.dtype == np.float32
    assert not pixels.requires_grad
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    (x.astype("float32") * 3.0).sum().backward()
    assert x.grad.dtype == np.float64


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 0)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis, keepdims: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    t = Tensor(x)
    for got, expected in [
        (ops.sum(t, axis, keepdims), x.sum(axis=axis, keepdims=keepdims)),
        (ops.mean(t, axis, keepdims), x.mean(axis=axis, keepdims=keepdims)),
    ]:
        assert got.shape == expected.shape
        np.testing.assert_allclose(got.data, expected, rtol=1e-13)
