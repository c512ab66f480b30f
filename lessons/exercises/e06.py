"""Lesson 06: who computes what, how many blocks, a reduction with barriers, banks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, attempted, require, same


@exercise(
    "06.1",
    "owner",
    (
        "First the thread's number among all: the flat place of the result (lesson 05).",
        "((n * oh + i) * ow + j) * co + q; then which block of 256, and where in it.",
        "divmod(number, 256)",
    ),
)
def owner(answer: Any) -> None:
    cases: list[Case] = [
        dict(zip(("n", "i", "j", "q", "oh", "ow", "co"), values, strict=True))
        for values in [
            (0, 0, 0, 0, 1, 1, 1), (0, 0, 0, 5, 6, 10, 8), (0, 0, 1, 0, 6, 10, 8),
            (0, 5, 9, 7, 6, 10, 8), (3, 1, 2, 3, 6, 10, 8), (2, 61, 0, 31, 62, 62, 32),
        ]
    ]  # fmt: skip

    def reference(n: int, i: int, j: int, q: int, oh: int, ow: int, co: int) -> tuple[int, int]:
        return divmod(int(np.ravel_multi_index((n, i, j, q), (n + 1, oh, ow, co))), 256)

    same(answer, reference, cases, name="owner")


def blocks_of(n: int, h: int, w: int, co: int) -> tuple[int, int, int]:
    rows, columns = -(-(h - 2) // 4), -(-(w - 2) // 8)
    return rows * columns, -(-co // 8), n


@exercise(
    "06.2",
    "grid_of",
    (
        "The tiles have to cover OH x OW results, also where the last ones stick out.",
        "Divide and round up: -(-a // b).",
        "(ceil(oh / 4) * ceil(ow / 8), ceil(co / 8), n) with oh = h - 2, ow = w - 2",
    ),
)
def grid_of(answer: Any) -> None:
    cases: list[Case] = [
        dict(zip(("n", "h", "w", "co"), values, strict=True))
        for values in [(1, 6, 10, 8), (1, 7, 10, 8), (1, 6, 11, 8), (2, 8, 12, 9), (50, 64, 64, 16)]
    ]
    same(answer, blocks_of, cases, name="grid_of")


ORDERS = ("forward", "reverse", "random", "warps")


def in_order(order: str, threads: list[Any], rng: np.random.Generator) -> list[Any]:
    """The threads as one round runs them."""
    if order == "reverse":
        return threads[::-1]
    if order == "random":
        return [threads[i] for i in rng.permutation(len(threads))]
    if order == "warps":
        starts = rng.permutation(range(0, len(threads), 32))
        return [thread for start in starts for thread in threads[start : start + 32]]
    return threads


def run_block(answer: Any, values: Any, order: str) -> float:
    """Run 256 generators from barrier to barrier; shared[0] at the end."""
    shared, rng = values.copy(), np.random.default_rng(0)
    threads = [attempted(answer(t, shared)) for t in range(256)]
    require(all(isinstance(t, Iterator) for t in threads),
            "reduce is not a generator: it needs a yield for each barrier")  # fmt: skip
    waiting = dict(enumerate(threads))
    while waiting:
        arrived = {}
        for t in in_order(order, list(waiting), rng):
            if next(waiting[t], "left") != "left":
                arrived[t] = waiting[t]
        require(
            len(arrived) in (0, len(waiting)),
            f"order {order}: {len(arrived)} threads wait at a barrier that the other "
            f"{len(waiting) - len(arrived)} never reach; every thread must pass every barrier",
        )
        waiting = arrived
    return float(shared[0])


@exercise(
    "06.3",
    "reduce",
    (
        "Only the threads t < s add in a round, but all of them come to the barrier.",
        "What must be finished before a thread reads shared[t + s]? The round before, of others.",
        "for s in (128, 64, ..., 1): if thread < s: shared[thread] += shared[thread + s]; yield",
    ),
)
def reduce(answer: Any) -> None:
    values = np.arange(256.0) % 7
    for order in ORDERS:
        got = run_block(answer, values, order)
        require(
            got == values.sum(),
            f"reduce of 256 numbers, threads in order {order!r}\n  gave     {got}\n"
            f"  expected {values.sum()}",
        )


def rounds(addresses: Any) -> int:
    wanted: dict[int, set[int]] = {}
    for a in addresses:
        wanted.setdefault(int(a) % 32, set()).add(int(a))
    return max(map(len, wanted.values()))


@exercise(
    "06.4",
    "conflicts",
    (
        "Who wants the same number gets it together; different numbers of one bank wait.",
        "For each bank count the different addresses; the worst bank decides.",
        "max over banks b of len({a for a in addresses if a % 32 == b})",
    ),
)
def conflicts(answer: Any) -> None:
    t = np.arange(32)
    cases: list[Case] = [
        {"addresses": a} for a in (t, 0 * t, 2 * t, 32 * t, 33 * t, 8 * t, t // 4 * 32, 181 * t)
    ]
    same(answer, rounds, cases, name="conflicts")


def row_fastest(n: int, i: int, j: int, q: int, oh: int, ow: int, co: int) -> Any:
    return divmod(((n * co + q) * ow + j) * oh + i, 256)


def rounds_down(n: int, h: int, w: int, co: int) -> Any:
    return (h - 2) // 4 * ((w - 2) // 8), co // 8, n


def no_barrier(thread: int, shared: Any) -> Any:
    s = 128
    while s:
        if thread < s:
            shared[thread] += shared[thread + s]
        s //= 2
    yield


def barrier_for_some(thread: int, shared: Any) -> Any:
    s = 128
    while thread < s:
        shared[thread] += shared[thread + s]
        s //= 2
        yield


def counts_equal_ones_too(addresses: Any) -> Any:
    return int(np.bincount(np.asarray(addresses) % 32).max())


WRONG = {
    "06.1": [row_fastest],
    "06.2": [rounds_down],
    "06.3": [no_barrier, barrier_for_some],
    "06.4": [counts_equal_ones_too],
}
