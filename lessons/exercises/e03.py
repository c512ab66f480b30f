"""Lesson 03: slopes by trying, in one place, along a direction, with complex numbers; a liar."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, attempted, call, compare, require
from minissr.autograd.function import Function

STEP = 1e-5


def cubes(x: Any) -> Any:
    return float((x**3).sum())


def chained(x: Any) -> Any:
    flat = x.ravel()
    return float((np.sin(flat) * np.roll(flat, 1)).sum())


def arrays() -> list[Any]:
    rng = np.random.default_rng(0)
    return [np.array([2.0]), np.array([1.0, -2.0]), rng.normal(size=(2, 3)), np.array(0.5)]


@exercise(
    "03.1",
    "numeric_gradient",
    (
        "Loop over np.ndindex(x.shape), and change one element at a time.",
        "Change a copy of x, or put the old value back; integers in x would swallow the step.",
        "for i in np.ndindex(x.shape): up, down = x.copy(), x.copy(); up[i] += h; down[i] -= h; "
        "g[i] = (f(up) - f(down)) / (2 * h)",
    ),
)
def numeric_gradient(answer: Any) -> None:
    for f, slope in ((cubes, lambda x: 3 * x**2), (chained, slope_of_chained)):
        for x in arrays():
            case: Case = {"f": f, "x": x, "h": STEP}
            mine = x.copy()
            got = attempted(answer(f, mine, STEP))
            compare(got, slope(x), case, tol=1e-7, name="numeric_gradient")
            require(
                np.array_equal(mine, x),
                f"numeric_gradient(f, x={x}, h={STEP})\n  left {mine} in x, not what was there",
            )


def slope_of_chained(x: Any) -> Any:
    flat = x.ravel()
    return (np.cos(flat) * np.roll(flat, 1) + np.roll(np.sin(flat), -1)).reshape(x.shape)


@exercise(
    "03.2",
    "directional",
    (
        "Per unit of length: what happens to your answer if u is twice as long?",
        "Divide u by its length (np.linalg.norm of all its elements) before you step.",
        "u = u / np.linalg.norm(u); (f(x + h * u) - f(x - h * u)) / (2 * h)",
    ),
)
def directional(answer: Any) -> None:
    rng = np.random.default_rng(1)
    for x in arrays():
        for u in (np.ones_like(x), 2 * np.ones_like(x), rng.normal(size=x.shape)):
            case: Case = {"f": cubes, "x": x, "u": u, "h": STEP}
            wanted = (3 * x**2 * u).sum() / np.linalg.norm(u)
            got = call(answer, case, name="directional")
            compare(got, wanted, case, tol=1e-7, name="directional")


@exercise(
    "03.3",
    "complex_step",
    (
        "The imaginary part of f(x + ih) is h f'(x); nothing is subtracted. How small may h be?",
        "As small as you like: nothing cancels. Try h = 1e-30.",
        "f(x + 1e-30j).imag / 1e-30",
    ),
)
def complex_step(answer: Any) -> None:
    functions: list[tuple[Any, Any]] = [
        (np.square, lambda x: 2 * x),
        (np.exp, np.exp),
        (np.sin, np.cos),
        (lambda x: 27 / (1 + x), lambda x: -27 / (1 + x) ** 2),
        (lambda x: np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3), None),
    ]
    for f, slope in functions:
        for x in (1.0, 0.3):
            case: Case = {"f": f, "x": x}
            if slope is None:
                s, c = np.sin(x), np.cos(x)
                cube = s**3 + c**3
                wanted = np.exp(x) * cube**-0.5 * (1 - 1.5 * (s**2 * c - c**2 * s) / cube)
            else:
                wanted = slope(x)
            got = call(answer, case, name="complex_step")
            compare(got, wanted, case, tol=1e-13, name="complex_step")


class Suspect(Function):
    """An operation on an array (N, C)."""


class Cube(Suspect):
    """y = x^3."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return 3 * g * ctx.saved[0] ** 2


class LogSumExp(Suspect):
    """y = log sum exp x over each row, (N,)."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = np.log(np.exp(x).sum(axis=1))
        ctx.save(np.exp(x - y[:, None]))
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g[:, None] * ctx.saved[0]


class UnitRows(Suspect):
    """Each row divided by its length."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        ctx.save(x / length, length)
        return x / length

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        y, length = ctx.saved
        return (g - y * (g * y).sum(axis=1, keepdims=True)) / length


class Centred(Suspect):
    """Each row less its mean."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x - x.mean(axis=1, keepdims=True)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g - g.mean(axis=0, keepdims=True)


class Swish(Suspect):
    """y = x sigmoid(x)."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        s = 1 / (1 + np.exp(-x))
        ctx.save(x, s)
        return x * s

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, s = ctx.saved
        return g * (s + x * s * (1 - s))


SUSPECTS = {
    "cube": Cube,
    "log_sum_exp": LogSumExp,
    "unit_rows": UnitRows,
    "centred": Centred,
    "swish": Swish,
}


@exercise(
    "03.4",
    "liar",
    (
        "gradcheck(SUSPECTS[name].apply, [x]) for each name, with an x of shape (3, 4).",
        "Not a square x, and no sum of outputs: gradcheck's own random weights see it.",
        "It forgot over which axis it had taken the mean.",
    ),
)
def liar(answer: Any) -> None:
    require(answer in SUSPECTS, f"{answer!r} is none of {', '.join(SUSPECTS)}")
    require(SUSPECTS[answer] is Centred, f"the backward of {answer} is right")


@exercise(
    "03.5",
    "has_kink",
    (
        "Compare what you measure with h and with h / 2. A kink at x itself and one beside it show "
        "in different ways.",
        "At x: the bend stays, where a smooth one is halved. Beside x: the central difference "
        "changes, where a smooth one hardly does.",
        "abs(bend(h) - 2 * bend(h / 2)) > 0.01 or abs(central(h) - central(h / 2)) > 0.01",
    ),
)
def has_kink(answer: Any) -> None:
    h = 1e-4
    smooth: list[tuple[str, Any]] = [
        ("x", lambda x: x),
        ("x**2", lambda x: x**2),
        ("exp(3 x)", lambda x: np.exp(3 * x)),
        ("sin(20 x)", lambda x: np.sin(20 * x)),
        ("27 / (1 + x)", lambda x: 27 / (1 + x)),
    ]
    for name, f in smooth:
        for x in (0.0, 0.5):
            got = attempted(answer(f, x, h))
            require(
                not got, f"has_kink(f, x={x}, h={h}) for f = {name}\n  gave {got}, it is smooth"
            )
    for place in (0.0, 0.5, -0.5, 0.25, -0.75, 0.7):
        for name, f in smooth:
            x = 0.5

            def bent(z: float, f: Any = f, kink: float = x + place * h) -> float:
                return f(z) + 0.7 * max(z - kink, 0.0)

            got = attempted(answer(bent, x, h))
            require(
                got,
                f"has_kink(f, x={x}, h={h}) for f = {name} + 0.7 max(x - kink, 0), with its kink "
                f"{place} h from x\n  gave {got}",
            )


def one_sided(f: Any, x: Any, h: Any) -> Any:
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up = x.copy()
        up[i] += h
        g[i] = (f(up) - f(x)) / h
    return g


def in_place(f: Any, x: Any, h: Any) -> Any:
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        up = f(x)
        x[i] -= 2 * h
        g[i] = (up - f(x)) / (2 * h)
    return g


def not_per_length(f: Any, x: Any, u: Any, h: Any) -> Any:
    return (f(x + h * u) - f(x - h * u)) / (2 * h)


def central_as_usual(f: Any, x: Any) -> Any:
    return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5


def by_any_bend(f: Any, x: Any, h: Any) -> Any:
    return abs(f(x + h) - 2 * f(x) + f(x - h)) / h > 0.01


WRONG = {
    "03.1": [one_sided, in_place],
    "03.2": [not_per_length],
    "03.3": [central_as_usual],
    "03.4": ["cube", "unit_rows", "Centred"],
    "03.5": [by_any_bend],
}
