"""Lesson 07: ties, windows that overlap, a ReLU without a corner, units that are dead."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, call, compare, same
from minissr import Tensor, ops


def backward_of(op: Any, gy: Any, x: Any, **settings: Any) -> Any:
    tensor = Tensor(x, requires_grad=True)
    op(tensor, **settings).backward(gy)
    return tensor.grad


def whole_numbers() -> list[Any]:
    """Images with many ties, the smallest first."""
    rng = np.random.default_rng(0)
    return [
        np.zeros((1, 2, 2, 1)),
        np.array([1.0, 0, 0, 1]).reshape(1, 2, 2, 1),
        *(
            rng.integers(0, 3, shape).astype(np.float64)
            for shape in [(1, 2, 3, 1), (1, 3, 2, 1), (1, 4, 4, 1), (2, 5, 7, 3)]
        ),
    ]


@exercise(
    "07.1",
    "max_pool_backward",
    (
        "np.argmax along an axis gives the first maximum. Which axis holds a window's pixels?",
        "in_windows and from_windows of the lesson do the rearranging; only the middle is asked.",
        "won = np.arange(4) == in_windows(x).argmax(axis=4)[..., None]; "
        "from_windows(gy[..., None] * won, x.shape)",
    ),
)
def max_pool_backward(answer: Any) -> None:
    rng = np.random.default_rng(1)
    for x in whole_numbers():
        gy = rng.normal(size=ops.max_pool(Tensor(x)).shape)
        case: Case = {"gy": gy, "x": x}
        got = call(answer, case, name="max_pool_backward")
        compare(got, backward_of(ops.max_pool, gy, x), case, name="max_pool_backward")


@exercise(
    "07.2",
    "avg_pool_backward",
    (
        "Each of the nine pixels of a window has a ninth of the mean. A pixel may be in four "
        "windows.",
        "Loop over the nine offsets (u, v), as in lesson 04: which pixels are at that offset?",
        "gx[:, u : u + 2 * oh - 1 : 2, v : v + 2 * ow - 1 : 2] += gy / 9",
    ),
)
def avg_pool_backward(answer: Any) -> None:
    rng = np.random.default_rng(2)
    for shape in [(1, 3, 3, 1), (1, 3, 5, 1), (1, 5, 5, 1), (1, 4, 6, 1), (2, 8, 7, 3)]:
        x = rng.normal(size=shape)
        gy = rng.normal(size=ops.avg_pool(Tensor(x), 3, 2).shape)
        case: Case = {"gy": gy, "x": x}
        got = call(answer, case, name="avg_pool_backward")
        wanted = backward_of(ops.avg_pool, gy, x, size=3, stride=2)
        compare(got, wanted, case, name="avg_pool_backward")


def softplus_reference(x: Any) -> Any:
    slope = np.where(x >= 0, 1.0, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), slope


@exercise(
    "07.3",
    "softplus",
    (
        "Far to the right log(1 + e^x) is x. Take that out: what is left?",
        "log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), where nothing overflows; np.log1p for the "
        "rest. The slope is the sigmoid, 1 / (1 + e^-x).",
        "e = np.exp(-abs(x)); value np.maximum(x, 0) + np.log1p(e); slope "
        "np.where(x >= 0, 1, e) / (1 + e)",
    ),
)
def softplus(answer: Any) -> None:
    cases: list[Case] = [
        {"x": np.array([v])} for v in (0.0, 1.0, -1.0, 30.0, -30.0, -40.0, 800.0, -800.0)
    ] + [{"x": np.linspace(-800, 800, 9)}]
    with np.errstate(over="raise", invalid="raise"):
        same(answer, softplus_reference, cases, name="softplus", tol=1e-12)
        # To 12 digits of the small numbers too, not only of the largest one.
        for x in (-30.0, -40.0, -200.0):
            case: Case = {"x": np.array([x])}
            value, slope = call(answer, case, name="softplus")
            right = softplus_reference(case["x"])
            compare(
                (value / right[0], slope / right[1]), (np.ones(1), np.ones(1)), case,
                tol=1e-12, name="relative to what is right, softplus",
            )  # fmt: skip


def dead(z: Any) -> list[int]:
    return [int(unit) for unit in np.flatnonzero((z <= 0).all(axis=0))]


@exercise(
    "07.4",
    "dead_units",
    (
        "When does a ReLU pass nothing back, for one picture?",
        "When its input is 0 or below. Dead is a unit for which that is so for every picture.",
        "np.flatnonzero((z <= 0).all(axis=0)).tolist()",
    ),
)
def dead_units(answer: Any) -> None:
    rng = np.random.default_rng(4)
    cases: list[Case] = [
        {"z": np.array([[1.0]])},
        {"z": np.array([[-1.0]])},
        {"z": np.array([[0.0]])},
        {"z": np.array([[-1.0, 1.0], [1.0, -1.0]])},
        {"z": np.array([[-1.0, 0.0, 2.0], [-3.0, 0.0, -1.0]])},
        {"z": rng.normal(-1, 1, (4, 12))},
    ]
    same(answer, lambda z: np.array(dead(z)), cases, name="dead_units")


def all_that_are_equal(gy: Any, x: Any) -> Any:
    gx = np.zeros_like(x)
    for n, i, j, c in np.ndindex(gy.shape):
        window = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        gx[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c] = gy[n, i, j, c] * (window == window.max())
    return gx


def the_last_one_wins(gy: Any, x: Any) -> Any:
    gx = np.zeros_like(x)
    for u, v in np.ndindex(3, 3):
        oh, ow = gy.shape[1:3]
        gx[:, u : u + 2 * oh - 1 : 2, v : v + 2 * ow - 1 : 2] = gy / 9
    return gx


def as_it_is_written(x: Any) -> Any:
    return np.log(1 + np.exp(x)), 1 / (1 + np.exp(-x))


def loses_small_numbers(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.maximum(x, 0) + np.log(1 + e), softplus_reference(x)[1]


def dead_for_one_picture(z: Any) -> Any:
    return np.flatnonzero((z <= 0).any(axis=0))


def forgets_zero(z: Any) -> Any:
    return np.flatnonzero((z < 0).all(axis=0))


WRONG = {
    "07.1": [all_that_are_equal],
    "07.2": [the_last_one_wins],
    "07.3": [as_it_is_written, loses_small_numbers],
    "07.4": [dead_for_one_picture, forgets_zero],
}
