"""Lesson 01: slopes of a quotient, stretched arrays, the order of the walk, an op of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, attempted, call, gradients, require, same
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError, gradcheck
from minissr.autograd.tensor import Tensor
from minissr.ops.basic import unbroadcast as reference


def quotients() -> list[Case]:
    rng = np.random.default_rng(0)
    whole = [{"a": np.array([6.0]), "b": np.array([2.0])}]
    return whole + [
        {"a": rng.normal(size=n), "b": rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)}
        for n in (2, 5)
    ]


@exercise(
    "01.1",
    "divide_backward",
    (
        "Write a / b as a times 1/b. What is the slope of the product towards a?",
        "The slope of 1/b is -1/b^2; multiply each slope by g, what came back to y.",
        "g / b towards a, and -g * a / b**2 towards b; return the two as a tuple.",
    ),
)
def divide_backward(answer: Any) -> None:
    gradients(lambda a, b: a / b, answer, quotients(), name="divide_backward")


STRETCHES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1,), (1,)), ((), (2,)), ((1,), (2,)), ((2,), (2,)), ((1, 1), (1, 2)), ((2,), (1, 2)),
    ((2, 1), (2, 3)), ((1, 3), (2, 3)), ((3,), (2, 3)), ((1, 3, 1), (2, 3, 4)),
    ((3, 4), (2, 3, 4)), ((1, 1), (2, 3, 4)), ((), (2, 3, 4)),
]  # fmt: skip


@exercise(
    "01.2",
    "unbroadcast",
    (
        "NumPy lines shapes up at their last axis. Which axes of g have no partner in `shape`?",
        "Sum over the axes that shape doesn't have, and over those where shape has 1 and g more.",
        "extra = g.ndim - len(shape); sum g over range(extra) and over every extra + i with "
        "shape[i] == 1; then .reshape(shape) brings the axes of length 1 back.",
    ),
)
def unbroadcast(answer: Any) -> None:
    cases = [
        {"g": np.arange(1.0, 1 + np.prod(long)).reshape(long), "shape": short}
        for short, long in STRETCHES
    ]
    same(answer, reference, cases, name="unbroadcast")


def graphs() -> list[tuple[dict[str, list[str]], str]]:
    deep = {str(n): [str(n - 1)] for n in range(1, 5000)}
    return [
        ({"x": []}, "x"),
        ({"x": [], "y": ["x", "x"]}, "y"),
        ({"x": [], "unrelated": [], "y": ["x"]}, "y"),
        ({"x": [], "a": ["x"], "y": ["a", "x"]}, "y"),
        ({"x": [], "a": ["x"], "y": ["x", "a"]}, "y"),
        ({"x": [], "a": ["x"], "b": ["a"], "c": ["b", "x"], "y": ["x", "c", "a"]}, "y"),
        ({**deep, "0": []}, "4999"),
    ]


@exercise(
    "01.3",
    "visiting_order",
    (
        "A name may be visited when all of its children have been. Count the children first.",
        "Find everything behind `last` with a list to work off; count for each name how often it "
        "is a parent; start with `last`, and take a name off the count each time it is reached.",
        "ready = [last]; while ready: name = ready.pop(); order.append(name); for parent in "
        "parents[name]: children[parent] -= 1; if it is 0 now, ready.append(parent).",
    ),
)
def visiting_order(answer: Any) -> None:
    for parents, last in graphs():
        shown = f"{len(parents)} names in a row" if len(parents) > 9 else repr(parents)
        example = f"visiting_order({shown}, {last!r})"
        try:
            order = attempted(answer({k: list(v) for k, v in parents.items()}, last))
        except RecursionError:
            require(False, f"{example}\n  ran out of stack; use a list to work off, no recursion")
        place = {name: i for i, name in enumerate(order)}
        require(len(place) == len(order), f"{example}\n  gave {order}: a name stands twice")
        behind, to_visit = {last}, [last]
        while to_visit:
            new = [n for n in parents[to_visit.pop()] if n not in behind]
            behind.update(new)
            to_visit.extend(new)
        require(set(place) == behind, f"{example}\n  gave {order[:9]}\n  expected all of "
                f"{sorted(behind)[:9]} and nothing else")  # fmt: skip
        for name in order:
            for parent in parents[name]:
                require(
                    place[name] < place[parent],
                    f"{example}\n  gave {order}\n  {parent!r} is visited before its child {name!r}",
                )


@exercise(
    "01.4",
    "Hypotenuse",
    (
        "The slope of sqrt(a^2 + b^2) towards a is a / sqrt(a^2 + b^2) = a / y.",
        "Save a, b and y. What comes back is g * a / y and g * b / y, in the shape of a and of b.",
        "If a was stretched, the gradient has the shape of y: use your unbroadcast, or import "
        "the package's: from minissr.ops.basic import unbroadcast.",
    ),
)
def hypotenuse(answer: Any) -> None:
    require(
        isinstance(answer, type) and issubclass(answer, Function),
        "Hypotenuse is not a class derived from minissr.autograd.function.Function",
    )
    rng = np.random.default_rng(0)

    class Silent:
        """A context that keeps nothing, to ask for the forward alone."""

        def save(self, *values: Any) -> None:
            """Nobody reads it."""

    three_four = {"a": np.array([3.0]), "b": np.array([4.0])}
    y = call(lambda a, b: answer.forward(Silent(), a, b), three_four, name="Hypotenuse.forward")
    require(np.allclose(y, 5.0), f"Hypotenuse.forward(a=[3.], b=[4.])\n  gave {y}, expected [5.]")
    for short, long in [((1,), (1,)), ((1,), (3,)), ((2, 1), (2, 3)), ((3,), (2, 3))]:
        a, b = rng.uniform(0.5, 2, short), rng.uniform(0.5, 2, long)
        example = f"a of shape {short}, b of shape {long}"
        result = answer.apply(Tensor(a), Tensor(b))
        require(np.allclose(result.data, np.hypot(a, b)), f"Hypotenuse, {example}: wrong value")
        try:
            gradcheck(answer.apply, [a, b], mode="elements")
        except (GradientError, RuntimeError) as error:
            require(False, f"Hypotenuse, {example}\n  {error}")


def forgets_the_minus(g: Any, a: Any, b: Any) -> Any:
    return g / b, g * a / b**2


def keeps_stretched_axes_out(g: Any, shape: Any) -> Any:
    return g.sum(axis=tuple(range(g.ndim - len(shape))))


def depth_first(parents: Any, last: Any) -> Any:
    """Each name when first met: a parent may come before one of its children."""
    order, to_visit = [], [last]
    while to_visit:
        name = to_visit.pop(0)
        if name not in order:
            order.append(name)
            to_visit.extend(parents[name])
    return order


class NeverStretched(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        y = np.sqrt(a**2 + b**2)
        ctx.save(a, b, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, b, y = ctx.saved
        return g * a / y, g * b / y


class ForgetsTheRoot(NeverStretched):
    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, b, _ = ctx.saved
        return reference(g * 2 * a, a.shape), reference(g * 2 * b, b.shape)


WRONG = {
    "01.1": [forgets_the_minus],
    "01.2": [keeps_stretched_axes_out],
    "01.3": [depth_first],
    "01.4": [NeverStretched, ForgetsTheRoot],
}
