"""Memory is freed as the walk passes, by reference counts alone: the collector is switched off."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pytest

from minissr import Tensor, ops, use_backend
from minissr.autograd.function import Context, Function


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(length: int) -> tuple[Tensor, list[weakref.ref]]:
    """A loss and weak references to the tensors between it and its leaf."""
    x = Tensor(np.ones(4), requires_grad=True)
    inner = []
    for _ in range(length):
        x = ops.tanh(x)
        inner.append(weakref.ref(x))
    return x.sum(), inner


def test_dropping_a_loss_frees_its_graph() -> None:
    loss, inner = chain(5)
    assert all(ref() is not None for ref in inner)
    del loss
    assert all(ref() is None for ref in inner)


def test_backward_frees_what_it_has_passed() -> None:
    loss, inner = chain(5)
    loss.backward()
    assert all(ref() is None for ref in inner)
    assert loss.creator is not None


def test_retain_graph_keeps_it() -> None:
    loss, inner = chain(5)
    loss.backward(retain_graph=True)
    assert all(ref() is not None for ref in inner)


class Watched(Function):
    """x, with a weak reference to what it saved, and a look at who is alive during backward."""

    saved: ClassVar[list[weakref.ref]] = []
    alive: ClassVar[list[int]] = []

    @staticmethod
    def forward(ctx: Context, x):
        kept = np.array(x)
        Watched.saved.append(weakref.ref(kept))
        ctx.save(kept)
        ctx.extra = kept
        return x * 1.0

    @staticmethod
    def backward(ctx: Context, g):
        Watched.alive.append(sum(ref() is not None for ref in Watched.saved))
        return g


def test_saved_arrays_go_one_by_one_on_the_way_back() -> None:
    Watched.saved, Watched.alive = [], []
    x = Tensor(np.ones(3), requires_grad=True)
    y = x
    for _ in range(4):
        y = Watched.apply(y)
    loss = y.sum()
    loss.backward()
    assert Watched.alive == [4, 3, 2, 1]
    assert loss.creator is not None  # still held here, and yet:
    assert all(ref() is None for ref in Watched.saved)


def test_without_gradients_nothing_is_kept() -> None:
    Watched.saved = []
    y = Watched.apply(Tensor(np.ones(3)))
    assert y.creator is None
    assert Watched.saved[0]() is None


def test_a_model_sized_graph_leaves_no_cycles() -> None:
    rng = np.random.default_rng(0)
    w = Tensor(rng.standard_normal((3, 3, 2, 2)), requires_grad=True)
    x = Tensor(rng.standard_normal((2, 8, 8, 2)))
    with use_backend("numpy"):
        y = ops.flatten(ops.max_pool(ops.relu(ops.conv2d(x, w))))
    loss = ops.mae(ops.softmax(y).sum(axis=1), np.zeros(2))
    loss.backward()
    del loss, y
    assert gc.collect() == 0
