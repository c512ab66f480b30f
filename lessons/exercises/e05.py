"""Lesson 05: places in memory, tiles of registers, repeatable sums, the roofline, few products."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, attempted, call, compare, require, same, shapes


@exercise(
    "05.1",
    "flat_index",
    (
        "In a table (rows, columns), row r begins at r * columns.",
        "One axis more: the place so far, times the length of the next axis, plus the next index.",
        "at = 0; for index, length in zip(place, shape): at = at * length + index",
    ),
)
def flat_index(answer: Any) -> None:
    for shape in [(4,), *shapes((1, 2), (1, 3)), (2, 3, 4), (2, 3, 2, 3)]:
        for at, place in enumerate(np.ndindex(shape)):
            case: Case = {"place": place, "shape": shape}
            same(answer, lambda *_, at=at: at, [case], name="flat_index")


def tile(count: int, most_v: int) -> tuple[int, int]:
    pairs = [(p, v) for v in range(1, most_v + 1) for p in range(1, count) if p * v + v < count]
    return max(pairs, key=lambda pair: (pair[0] * pair[1] / (pair[0] + pair[1]), -pair[1]))


@exercise(
    "05.2",
    "best_tile",
    (
        "Try all pairs that fit: P V sums, V weights and one pixel.",
        "Python's max with a key; among equals it keeps the first, so let V grow outside.",
        "max over v in 1..most_v, p with p v + v + 1 <= count, of p v / (p + v)",
    ),
)
def best_tile(answer: Any) -> None:
    cases: list[Case] = [
        {"count": count, "most_v": v} for count in (4, 8, 16, 32, 64) for v in (1, 2, 3, 6)
    ]
    same(answer, tile, cases, name="best_tile")


@exercise(
    "05.3",
    "repeatable_sum",
    (
        "Where pieces begin and end must not depend on `threads`.",
        "A fixed size, say 100 numbers; the number of pieces follows from the number of values.",
        "pieces = [values[i : i + 100].sum(dtype=np.float32) ...]; add them up in order.",
    ),
)
def repeatable_sum(answer: Any) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 1000, 10_000):
        values = rng.normal(size=size).astype(np.float32)
        results = []
        for threads in range(1, 9):
            case: Case = {"values": values, "threads": threads}
            got = call(answer, case, name="repeatable_sum")
            require(isinstance(got, tuple) and len(got) == 2,
                    f"repeatable_sum gave {got!r}, not the pair (sum, pieces)")  # fmt: skip
            kind = np.asarray(got[0]).dtype
            require(kind == np.float32, f"the sum is {kind}; all sums are to be float32")
            compare(got[0], values.sum(dtype=np.float64), case, tol=1e-3, name="repeatable_sum")
            require(size < 1000 or got[1] >= 8,
                    f"{size} numbers in {got[1]} piece(s); at least 8")  # fmt: skip
            results.append((float(got[0]), int(got[1])))
        require(
            len(set(results)) == 1,
            f"repeatable_sum of {size} numbers on 1 to 8 threads gave {sorted(set(results))}",
        )


def bound(n: int, side: int, c: int, co: int, peak: float, bandwidth: float) -> float:
    out = side - 2
    operations = 2 * n * out**2 * co * 9 * c
    moved = 4 * (n * side**2 * c + 9 * c * co + n * out**2 * co)
    return operations / max(operations / peak, moved / bandwidth)


@exercise(
    "05.4",
    "roofline",
    (
        "How long does the arithmetic take at least, and how long the memory?",
        "They can go on at the same time, so the longer of the two decides.",
        "operations / max(operations / peak, bytes / bandwidth); 2 n (side-2)^2 co 9 c operations.",
    ),
)
def roofline(answer: Any) -> None:
    cases: list[Case] = [
        dict(zip(("n", "side", "c", "co", "peak", "bandwidth"), v, strict=True))
        for v in [
            (1, 3, 1, 1, 1e9, 1e9), (1, 3, 1, 1, 1e9, 1e12), (1, 64, 3, 16, 1e11, 1e10),
            (50, 64, 3, 16, 1e11, 1e8), (1, 32, 16, 32, 1e11, 2e10),
        ]
    ]  # fmt: skip
    same(answer, bound, cases, name="roofline", tol=1e-9)


class Counted:
    """A number whose products with other such numbers, and their quotients, are counted."""

    products = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{self.value:g}"

    def __add__(self, other: Any) -> Counted:
        return Counted(self.value + plain(other))

    def __sub__(self, other: Any) -> Counted:
        return Counted(self.value - plain(other))

    def __rsub__(self, other: Any) -> Counted:
        return Counted(plain(other) - self.value)

    def __neg__(self) -> Counted:
        return Counted(-self.value)

    def __mul__(self, other: Any) -> Counted:
        Counted.products += isinstance(other, Counted)
        return Counted(self.value * plain(other))

    def __truediv__(self, other: Any) -> Counted:
        Counted.products += isinstance(other, Counted)
        return Counted(self.value / plain(other))

    __radd__, __rmul__ = __add__, __mul__


def plain(number: Any) -> Any:
    return number.value if isinstance(number, Counted) else number


@exercise(
    "05.5",
    "two_results",
    (
        "Name the numbers first: d0, d1, d2, d3 = d.",
        "The four products m0 to m3 are above; halve the sums of weights with / 2.",
        "y0 = m0 + m1 + m2, y1 = m1 - m2 - m3, with m1 = (d1 + d2) * ((g0 + g1 + g2) / 2).",
    ),
)
def two_results(answer: Any) -> None:
    rng = np.random.default_rng(0)
    examples = [([1, 0, 0, 0], [1, 0, 0]), ([0, 0, 0, 1], [0, 0, 1])]
    examples += [(rng.integers(-9, 10, 4), rng.integers(-9, 10, 3)) for _ in range(20)]
    for d, g in examples:
        case: Case = {"d": [Counted(float(v)) for v in d], "g": [Counted(float(v)) for v in g]}
        Counted.products = 0
        got = call(answer, case, name="two_results")
        used = Counted.products
        require(isinstance(got, tuple) and len(got) == 2,
                f"two_results gave {got!r}, not the pair (y0, y1)")  # fmt: skip
        wanted = tuple(np.correlate(np.float64(d), np.float64(g), "valid"))
        compare(tuple(map(plain, got)), wanted, case, name="two_results")
        require(used <= 4, f"two_results took {used} products; four are enough")


def first_axis_fastest(place: Any, shape: Any) -> Any:
    return int(np.ravel_multi_index(place, shape, order="F"))


def forgets_the_weights(count: Any, most_v: Any) -> Any:
    pairs = [(p, v) for v in range(1, most_v + 1) for p in range(1, count) if p * v <= count]
    return max(pairs, key=lambda pair: pair[0] * pair[1] / sum(pair))


def a_piece_a_thread(values: Any, threads: Any) -> Any:
    total = np.float32(0)
    pieces = np.array_split(values, 8 * threads)
    for piece in pieces:
        total += piece.sum(dtype=np.float32)
    return total, len(pieces)


def pieces_hidden_by_float64(values: Any, threads: Any) -> Any:
    pieces = np.array_split(attempted(values).astype(np.float64), 8 * threads)
    return sum(piece.sum() for piece in pieces), len(pieces)


def all_at_once(values: Any, threads: Any) -> Any:
    return attempted(values).sum(), 1


def one_after_the_other(n: Any, side: Any, c: Any, co: Any, peak: Any, bandwidth: Any) -> Any:
    operations = 2 * n * (side - 2) ** 2 * co * 9 * c
    moved = 4 * (n * side**2 * c + 9 * c * co + n * (side - 2) ** 2 * co)
    return operations / (operations / peak + moved / bandwidth)


def as_written(d: Any, g: Any) -> Any:
    d, g = attempted(d), attempted(g)
    return tuple(d[i] * g[0] + d[i + 1] * g[1] + d[i + 2] * g[2] for i in (0, 1))


def forgets_to_halve(d: Any, g: Any) -> Any:
    m0, m3 = (d[0] - d[2]) * g[0], (d[1] - d[3]) * g[2]
    m1, m2 = (d[1] + d[2]) * (g[0] + g[1] + g[2]), (d[2] - d[1]) * (g[0] - g[1] + g[2])
    return m0 + m1 + m2, m1 - m2 - m3


WRONG = {
    "05.1": [first_axis_fastest],
    "05.2": [forgets_the_weights],
    "05.3": [a_piece_a_thread, pieces_hidden_by_float64, all_at_once],
    "05.4": [one_after_the_other],
    "05.5": [as_written, forgets_to_halve],
}
