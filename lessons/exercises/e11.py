"""The exercises of lesson 11: dynamic range."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, require, same
from lessons.solutions import e11 as right

STAGES = [(1,), (2,), (3, 3), (2, 4), (3, 3, 3)]


def inputs(n, stages, seed=11):
    """p that adds up to 1 in each stage, eta and delta, with few decimals."""
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.dirichlet(np.ones(s), n) for s in stages], axis=1)
    eta, delta = rng.uniform(-0.8, 0.8, p.shape), rng.uniform(-0.6, 0.6, (n, len(stages)))
    return p.round(3), eta.round(2), delta.round(2)


@exercise(
    "11.1",
    "stretched_widths",
    (
        "np.array(stages) * (1 + delta) has the stretched numbers of bins, (N, K).",
        "A width divides by those of its own and of all coarser stages: a cumulative product.",
        "V / np.cumprod(np.array(stages) * (1 + delta), axis=1).",
    ),
)
def stretched_widths(answer):
    for n in (1, 2):
        cases = [{"delta": inputs(n, s)[2], "stages": s, "V": 90.0} for s in STAGES]
        same(answer, right.stretched_widths, cases, name="stretched_widths")


@exercise(
    "11.2",
    "shifted_index",
    (
        "One stage: (p * (np.arange(s) + eta)).sum(axis=1) with its own bins of p and eta.",
        "The bins of stage k start after those of all coarser stages: np.cumsum(stages) - s.",
        "Collect one (N,) for each stage and np.stack(..., axis=1).",
    ),
)
def shifted_index(answer):
    for n in (1, 2):
        cases = []
        for stages in STAGES:
            p, eta, _ = inputs(n, stages)
            cases.append({"p": p, "eta": eta, "stages": stages})
        same(answer, right.shifted_index, cases, name="shifted_index")


@exercise(
    "11.3",
    "soft_stagewise",
    (
        "Exercises 11.1 and 11.2 have the two halves; what is done with them?",
        "Multiply delta with c_delta and eta with c_eta before you use them.",
        "(stretched_widths(c_delta * delta, ...) * shifted_index(p, c_eta * eta, ...)).sum(axis=1)",
    ),
)
def soft_stagewise(answer):
    cases = []
    for stages in STAGES:
        p, eta, delta = inputs(2, stages)
        for c_delta, c_eta in ((1.0, 1.0), (0.0, 0.0), (0.9, 0.5)):
            cases.append({"p": p, "eta": eta, "delta": delta, "stages": stages, "V": 101.0,
                          "c_delta": c_delta, "c_eta": c_eta})  # fmt: skip
    same(answer, right.soft_stagewise, cases, name="soft_stagewise")


@exercise(
    "11.4",
    "delta_for",
    (
        "In how many of the widths does 1 + delta_1 stand? What does doubling it do to the age?",
        "It divides every width, so age = (age with delta_1 = 0) / (1 + delta_1).",
        "(V / np.cumprod(stages)) @ index is the age with all delta 0; divide by `age`, minus 1.",
    ),
)
def delta_for(answer):
    cases = [
        {"age": age, "index": np.float64(index), "stages": stages, "V": 90.0}
        for stages, index in (((3,), [1]), ((3, 3), [1, 1]), ((3, 3, 3), [0.9, 1.2, 0.4]))
        for age in (15.0, 40.0, 80.0)
    ]
    same(answer, right.delta_for, cases, name="delta_for")


@exercise(
    "11.5",
    "another_way",
    (
        "Change p and delta by a little first. How many years is the age off now?",
        "Adding c to all three eta of stage 1 moves the age by c times stage 1's width.",
        "c = (age wanted - age now) / (90 / (3 (1 + delta_1))), with the new delta_1.",
    ),
)
def another_way(answer):
    def age(p, eta, delta):
        rows = (np.asarray(a, np.float64)[None] for a in (p, eta, delta))
        return right.soft_stagewise(*rows, (3, 3), 90.0, 1.0, 1.0)[0]

    rng = np.random.default_rng(115)
    for _ in range(8):
        given = {
            "p": np.concatenate([rng.dirichlet(np.full(3, 3.0)) for _ in range(2)]).round(2),
            "eta": rng.uniform(-0.3, 0.3, 6).round(2),
            "delta": rng.uniform(-0.3, 0.3, 2).round(2),
        }
        for half in (slice(0, 3), slice(3, 6)):
            given["p"][half.start] += 1 - given["p"][half].sum()
        got = call(answer, given, name="another_way")
        require(isinstance(got, tuple) and len(got) == 3, "return p, eta and delta, three arrays")
        for (name, before), after in zip(given.items(), got, strict=True):
            compare(np.shape(after), before.shape, given, name=f"the shape of {name} of")
            require(np.abs(after - before).max() > 0.0499, f"{name} is (nearly) the same as before")
            require(name == "p" or np.abs(after).max() <= 0.95, f"{name} goes beyond 0.95: {after}")
        require(np.min(got[0]) >= -1e-9, f"your p has a negative probability: {got[0]}")
        compare(np.reshape(got[0], (2, 3)).sum(axis=1), np.ones(2), given, name="each stage's sum")
        compare(age(*got), age(**given), given, name="the age of another_way")


WRONG = {
    "11.1": [
        lambda delta, stages, V: V / np.cumprod(np.array(stages) / (1 + delta), axis=1),
        lambda delta, stages, V: V / np.cumprod(stages) / (1 + delta),  # its own stage only
    ],
    "11.2": [
        lambda p, eta, stages: right.shifted_index(p, 0 * eta, stages),
        lambda p, eta, stages: (
            right.shifted_index(p, 0 * eta, stages)
            + right.shifted_index(np.ones_like(p), eta, stages)
        ),  # eta not weighted
    ],
    "11.3": [
        lambda p, eta, delta, stages, V, c_delta, c_eta: right.soft_stagewise(
            p, eta, delta, stages, V, 1.0, 1.0
        ),
        lambda p, eta, delta, stages, V, c_delta, c_eta: right.soft_stagewise(
            p, eta, delta, stages, V, c_eta, c_delta
        ),
    ],
    "11.4": [
        lambda age, index, stages, V: age / ((V / np.cumprod(stages)) @ index) - 1,
        lambda age, index, stages, V: 0.0,
    ],
    "11.5": [
        lambda p, eta, delta: (p, eta, delta),
        lambda p, eta, delta: (np.roll(p, 1), eta + 0.1, delta + 0.1),
    ],
}
