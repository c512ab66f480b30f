"""The exercises of lesson 16: the broadcasting slip."""

import numpy as np

from lessons.check import exercise
from lessons.checking import attempted, call, require, same
from lessons.solutions import e16 as right


@exercise(
    "16.1",
    "shape_of",
    (
        "Write both shapes below each other, aligned at the right, and fill up with 1.",
        "Equal numbers stay; a 1 takes the other's number; two different ones are an error.",
        "itertools.zip_longest(reversed(a), reversed(b), fillvalue=1) gives the pairs.",
    ),
)
def shape_of(answer):
    shapes = [(), (1,), (3,), (3, 1), (1, 3), (2,), (4, 3, 1), (5,), (0,)]
    for a in shapes:
        for b in shapes:
            got = call(answer, {"a": a, "b": b}, name="shape_of")
            try:
                wanted = np.broadcast_shapes(a, b)
            except ValueError:
                wanted = "error"
            got = tuple(got) if isinstance(got, list) else got
            require(got == wanted, f"shape_of({a}, {b})\n  gave     {got}\n  expected {wanted}")


@exercise(
    "16.2",
    "lowest_age",
    (
        "The age is a sum of widths times q. When are widths smallest?",
        "1 + delta goes to 2, so every number of bins is doubled: 6 instead of 3.",
        "(V / np.cumprod([2 * s for s in stages])) @ q.",
    ),
)
def lowest_age(answer):
    cases = [
        {"q": np.float64(q), "stages": stages, "V": 101.0}
        for q, stages in (([1], (3,)), ([1, 1], (3, 3)), ([0.92, 0.82, 1.09], (3, 3, 3)))
    ]
    same(answer, right.lowest_age, cases, name="lowest_age")


@exercise(
    "16.3",
    "own_std",
    (
        "A stage adds width times index. Which of the two may not move here?",
        "Take the mean of the widths, one number, and multiply every index with it.",
        "(width.mean() * index).std().",
    ),
)
def own_std(answer):
    rng = np.random.default_rng(16)
    cases = [
        {"width": rng.uniform(5, 40, n).round(1), "index": rng.uniform(0, 2, n).round(2)}
        for n in (1, 2, 3, 20)
    ]
    same(answer, right.own_std, cases, name="own_std")


@exercise(
    "16.4",
    "suspicious",
    (
        "What is the youngest answer of a network that can't go below 18?",
        "Compare the smallest answer with an age that some face must have, such as 10.",
        "bool(ages.min() > 10).",
    ),
)
def suspicious(answer):
    rng = np.random.default_rng(16)
    true = rng.uniform(1, 90, 400)
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, 6, 400)
        good, floored = np.maximum(true + noise, 0.5), np.maximum(0.8 * true + noise, 0) + 17
        for ages, wanted in ((good, False), (floored, True)):
            got = attempted(answer(ages.copy()))
            require(
                bool(got) == wanted,
                f"answers from {ages.min():.1f} to {ages.max():.1f} years, for faces of 1 to 90: "
                f"you said {bool(got)}",
            )


WRONG = {
    "16.1": [
        lambda a, b: a if len(a) >= len(b) else b,
        lambda a, b: tuple(max(m, n) for m, n in zip(a, b, strict=False)),  # from the left
    ],
    "16.2": [
        lambda q, stages, V: float((V / np.cumprod(stages)) @ q),
        lambda q, stages, V: float((V / np.cumprod(stages) / 2) @ q),  # each stage only once
    ],
    "16.3": [
        lambda width, index: float((width * index).std()),
        lambda width, index: float(index.std()),
    ],
    "16.4": [lambda ages: False, lambda ages: True, lambda ages: ages.max() > 90],
}
