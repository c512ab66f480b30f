"""Lesson 02: backward of a sigmoid, a layer, a loss, a softmax, and of all of it together."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, call, compare, gradients, same
from minissr import Tensor, ops

SIZES = [(1, 1), (1, 2), (2, 1), (2, 3), (4, 3)]


def rows(seed: int, scale: float = 1.0) -> list[Case]:
    rng = np.random.default_rng(seed)
    return [{"z": rng.normal(0, scale, size)} for size in SIZES]


@exercise(
    "02.1",
    "sigmoid_backward",
    (
        "Write h = (1 + e^-z)^-1 and differentiate from the outside in.",
        "The slope is e^-z / (1 + e^-z)^2. Can you write it with h alone, as with tanh?",
        "h = 1 / (1 + exp(-z)); the slope is h (1 - h); multiply by g.",
    ),
)
def sigmoid_backward(answer: Any) -> None:
    gradients(lambda z: 1 / (1 + np.exp(-z)), answer, rows(1, 2.0), name="sigmoid_backward")


@exercise(
    "02.2",
    "dense_backward",
    (
        "Each gradient has the shape of what it belongs to. There is one product that fits.",
        "b is used once for every row of x: what came back is summed over the rows.",
        "return g @ w.T, x.T @ g, g.sum(axis=0)",
    ),
)
def dense_backward(answer: Any) -> None:
    rng = np.random.default_rng(2)
    cases = [
        {"x": rng.normal(size=(n, i)), "w": rng.normal(size=(i, o)), "b": rng.normal(size=o)}
        for n, i, o in [(1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (2, 3, 2), (4, 2, 3)]
    ]
    gradients(lambda x, w, b: x @ w + b, answer, cases, name="dense_backward")


def huber(y: Any, t: Any) -> Any:
    e = np.abs(y - t)
    return np.where(e < 1, e**2 / 2, e - 0.5).mean()


def huber_reference(g: Any, y: Any, t: Any) -> Any:
    return g * np.clip(y - t, -1, 1) / len(y)


@exercise(
    "02.3",
    "huber_backward",
    (
        "Below one year the slope of e^2/2 is e. What is it above?",
        "Above one year it is the sign of e, so the slope is e, cut off at -1 and 1.",
        "g * np.clip(y - t, -1, 1) / len(y): the mean divides by the number of faces.",
    ),
)
def huber_backward(answer: Any) -> None:
    cases: list[Case] = [
        {"g": 1.0, "y": np.array([30.5]), "t": np.array([30.0])},
        {"g": 1.0, "y": np.array([33.0]), "t": np.array([30.0])},
        {"g": 1.0, "y": np.array([30.0, 20.5]), "t": np.array([36.0, 20.0])},
        {"g": -2.0, "y": np.array([1.0, 2.0, 3.25]), "t": np.array([9.0, 1.5, 3.0])},
    ]
    for case in cases:  # our own reference, by trying
        y, t, step = case["y"], case["t"], 1e-6
        for i, slope in enumerate(huber_reference(**case)):
            nudge = step * (np.arange(len(y)) == i)
            tried = (huber(y + nudge, t) - huber(y - nudge, t)) / (2 * step)
            assert np.isclose(case["g"] * tried, slope, atol=1e-8)
    same(answer, huber_reference, cases, name="huber_backward")


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@exercise(
    "02.4",
    "softmax_backward",
    (
        "The slope of p_i towards z_j is p_i (1 if i = j, else 0) - p_i p_j.",
        "Sum over i of g_i times that: p_j g_j - p_j sum_i g_i p_i.",
        "p * (g - (g * p).sum(axis=-1, keepdims=True))",
    ),
)
def softmax_backward(answer: Any) -> None:
    gradients(softmax, answer, rows(4), name="softmax_backward")


NAMES = ("w1", "b1", "w2", "b2")


def with_short_cut(x: Any, t: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> tuple[Any, ...]:
    parameters = [Tensor(a, requires_grad=True) for a in (w1, b1, w2, b2)]
    z = ops.dense(Tensor(x), parameters[0], parameters[1])
    y = ops.dense(ops.relu(z) + z, parameters[2], parameters[3])
    ops.mae(y.reshape(len(t)), t).backward()
    return tuple(parameter.grad for parameter in parameters)


@exercise(
    "02.5",
    "gradients_of",
    (
        "Two paths lead from z to y: over h, and directly. Paths add up.",
        "w2 is used twice, too: what comes back to it is (h + z).T @ g.",
        "g = sign(y - t)[:, None] / N; both = g @ w2.T; z_bar = both * (z > 0) + both; then "
        "x.T @ z_bar, its sum over rows, (h + z).T @ g, the sum of g over rows.",
    ),
)
def gradients_of(answer: Any) -> None:
    rng = np.random.default_rng(5)
    for n, d, h in [(1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 2, 4), (5, 4, 3)]:
        case = {
            "x": rng.normal(size=(n, d)), "t": rng.normal(40, 10, n),
            "w1": rng.normal(size=(d, h)), "b1": rng.normal(size=h),
            "w2": rng.normal(size=(h, 1)), "b2": np.array([40.0]),
        }  # fmt: skip
        got = call(answer, case, name="gradients_of")
        compare(got, with_short_cut(**case), case, name="gradients_of")


def with_the_input(g: Any, z: Any) -> Any:
    return g * z * (1 - z)


def forgets_the_rows(g: Any, x: Any, w: Any, b: Any) -> Any:
    return g @ w.T, x.T @ g, g.mean(axis=0)


def forgets_the_mean(g: Any, y: Any, t: Any) -> Any:
    return g * np.clip(y - t, -1, 1)


def each_by_itself(g: Any, z: Any) -> Any:
    p = softmax(z)
    return g * p * (1 - p)


def only_over_h(x: Any, t: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    z = x @ w1 + b1
    h = np.maximum(z, 0)
    g = (np.sign(((h + z) @ w2 + b2)[:, 0] - t) / len(t))[:, None]
    z_bar = (g @ w2.T) * (z > 0)
    return x.T @ z_bar, z_bar.sum(axis=0), h.T @ g, g.sum(axis=0)


WRONG = {
    "02.1": [with_the_input],
    "02.2": [forgets_the_rows],
    "02.3": [forgets_the_mean],
    "02.4": [each_by_itself],
    "02.5": [only_over_h],
}
