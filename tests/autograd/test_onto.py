"""A tensor that several ops read: a gradient may be added in place, and only where it is safe."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from minissr import Tensor
from minissr.autograd.function import Context, Function


class Scale(Function):
    """k x, whose backward adds onto what it is given."""

    new_grads = True
    given: ClassVar[list[Any]] = []  # what backward was given, newest last

    @staticmethod
    def forward(ctx: Context, x: Any, *, k: float) -> Any:
        ctx.save(k)
        return x * k

    @staticmethod
    def backward(ctx: Context, g: Any) -> Any:
        (k,) = ctx.saved
        Scale.given.append(ctx.onto)
        if ctx.onto is None:
            return g * k
        ctx.onto += g * k
        return ctx.onto


class Same(Function):
    """x twice; hands its own gradients on, which others hold too."""

    @staticmethod
    def forward(ctx: Context, x: Any) -> Any:
        return x.copy()

    @staticmethod
    def backward(ctx: Context, g: Any) -> Any:
        assert ctx.onto is None  # it did not say that it may have it
        return g


@pytest.fixture(autouse=True)
def forget() -> None:
    Scale.given.clear()


def scale(x: Tensor, k: float) -> Tensor:
    return Scale.apply(x, k=k)


def leaf() -> Tensor:
    return Tensor(np.arange(3.0), requires_grad=True)


def test_three_readers_of_one_map_share_one_array() -> None:
    x = leaf()
    shared = scale(x, 1.0)
    (scale(shared, 2.0) + scale(shared, 3.0) + scale(shared, 5.0)).sum().backward()
    np.testing.assert_array_equal(x.grad, np.full(3, 10.0))
    first, second, third, last = Scale.given
    assert first is None
    assert second is third  # the first one's result, twice
    assert last is None  # a leaf's gradient is the user's


@pytest.mark.parametrize("own_first", [True, False])
def test_an_array_that_others_hold_is_never_added_to(own_first: bool) -> None:
    """Same and Add hand one array on to two tensors; adding into it would change both."""
    x, y = leaf(), leaf()
    shared, other = scale(x, 1.0), scale(y, 1.0)
    if own_first:
        loss = (Same.apply(shared) + other).sum() + scale(shared, 2.0).sum()
    else:
        a = scale(shared, 2.0)
        loss = a.sum() + (Same.apply(shared) + other).sum()
    start = np.ones(())
    loss.backward(start)
    np.testing.assert_array_equal(x.grad, np.full(3, 3.0))
    np.testing.assert_array_equal(y.grad, np.ones(3))
    np.testing.assert_array_equal(start, 1)


def test_a_kept_gradient_gets_every_piece_once() -> None:
    x = leaf()
    shared = scale(x, 1.0).retain_grad()
    (scale(shared, 2.0) + scale(shared, 3.0)).sum().backward()
    np.testing.assert_array_equal(shared.grad, np.full(3, 5.0))
    np.testing.assert_array_equal(x.grad, np.full(3, 5.0))


def test_the_users_starting_gradient_is_left_alone() -> None:
    x = leaf()
    shared = scale(x, 1.0)
    start = np.ones(3)
    out = scale(shared, 2.0)
    out.backward(start, retain_graph=True)
    out.backward(start)
    np.testing.assert_array_equal(start, np.ones(3))
    np.testing.assert_array_equal(x.grad, np.full(3, 4.0))
