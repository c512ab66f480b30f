"""The exercises of lesson 18: measuring speed."""

import numpy as np

from lessons.check import exercise
from lessons.checking import attempted, call, require, same
from lessons.solutions import e18 as right


@exercise(
    "18.1",
    "median_ratio",
    (
        "Which number stands for many noisy times? Not the mean.",
        "np.median of each side.",
        "np.median(a) / np.median(b).",
    ),
)
def median_ratio(answer):
    cases = [
        {"a": np.float64(a), "b": np.float64(b)}
        for a, b in (([4], [2]), ([4, 5, 90], [2, 3, 2]), ([1, 2, 3, 4], [8, 2]))
    ]
    same(answer, right.median_ratio, cases, name="median_ratio")


@exercise(
    "18.2",
    "turns",
    (
        "Two programs, two rounds: A B, then backwards, B A.",
        "Round k is forwards if k is even: k % 2 == 0. A list backwards is names[::-1].",
        "order = []; for k in range(rounds): order += names if k % 2 == 0 else names[::-1].",
    ),
)
def turns(answer):
    for names in (["A"], ["A", "B"], ["A", "B", "C"]):
        for rounds in (1, 2, 3):
            case = {"names": names, "rounds": rounds}
            got, wanted = call(answer, case, name="turns"), right.turns(names, rounds)
            require(list(got) == wanted, f"turns({names}, {rounds})\n  gave     {list(got)}\n"
                    f"  expected {wanted}")  # fmt: skip


@exercise(
    "18.3",
    "divisible",
    (
        "Start from S = 1 / ((1 - a) + a / n) and turn it upside down.",
        "1 / S = 1 - a + a / n = 1 - a (1 - 1 / n).",
        "a = (1 - 1 / speedup) / (1 - 1 / threads).",
    ),
)
def divisible(answer):
    cases = [
        {"speedup": s, "threads": n} for s, n in ((2.0, 2), (1.0, 2), (1.9, 2), (3.0, 4), (5.0, 16))
    ]
    same(answer, right.divisible, cases, name="divisible")


@exercise(
    "18.4",
    "verdict",
    (
        "How much does the median vary by chance? The lesson redraws the times to find out.",
        "Redraw both sides a few hundred times and collect the ratios of medians.",
        'All but 1 % of the ratios below 1: "faster"; above 1: "slower"; otherwise "can\'t tell".',
    ),
)
def verdict(answer):
    rng = np.random.default_rng(18)

    def program(ms, n=30):
        return ms + rng.exponential(0.6, n)

    told = {"same": [], "faster": [], "slower": []}
    for _ in range(20):
        told["same"].append(attempted(answer(program(10), program(10))))
        told["faster"].append(attempted(answer(program(10), program(12))))
        told["slower"].append(attempted(answer(program(12), program(10))))
    known = {"faster", "slower", "can't tell"}
    strange = {word for words in told.values() for word in words} - known
    require(not strange, f"verdict says {strange}; expected one of {sorted(known)}")
    for truth in ("faster", "slower"):
        hits = told[truth].count(truth)
        require(hits >= 18, f"20 % {truth}: you saw it {hits} times of 20")
    false = 20 - told["same"].count("can't tell")
    require(false <= 4, f"equal programs: you saw a difference {false} times of 20")


WRONG = {
    "18.1": [
        lambda a, b: float(np.mean(a) / np.mean(b)),
        lambda a, b: float(np.median(b) / np.median(a)),
    ],
    "18.2": [
        lambda names, rounds: list(names) * rounds,
        lambda names, rounds: [name for name in names for _ in range(rounds)],
    ],
    "18.3": [
        lambda speedup, threads: speedup / threads,
        lambda speedup, threads: 1 - 1 / speedup,
    ],
    "18.4": [
        lambda a, b: "faster" if np.median(a) < np.median(b) else "slower",
        lambda a, b: "can't tell",
    ],
}
