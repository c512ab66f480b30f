"""The exercises of lesson 09: DEX."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, gradients, require, same
from lessons.solutions import e09 as right


def faces(n, s, seed=9):
    """n rows of s probabilities, and the logits they come from."""
    z = np.random.default_rng(seed).normal(0, 1.5, (n, s)).round(2)
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True), z


SIZES = [(1, 1), (1, 2), (2, 3), (5, 9), (4, 101)]


@exercise(
    "09.1",
    "expected_age",
    (
        "Which age does bin i stand for? The one at which it begins, not the middle.",
        "np.arange(s) * V / s is that age for all bins at once.",
        "Weight with p and add up along the bins: p @ mu.",
    ),
)
def expected_age(answer):
    same(answer, right.expected_age, [{"p": np.float64([[0, 1]]), "V": 90.0}], name="expected_age")
    cases = [{"p": faces(n, s)[0], "V": 90.0} for n, s in SIZES]
    same(answer, right.expected_age, cases, name="expected_age")


@exercise(
    "09.2",
    "dex_backward",
    (
        "For one face the lesson has d age / d z_k; it needs p, so apply softmax to z first.",
        "d age / d z_k = p_k (mu_k - age). What does the chain rule do with g_age?",
        "g_age[:, None] * p * (mu - age[:, None]); the [:, None] gives every row its own number.",
    ),
)
def dex_backward(answer):
    def forward(z, V):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return (e / e.sum(axis=1, keepdims=True)) @ (np.arange(z.shape[1]) * V / z.shape[1])

    def at(V):
        return lambda z: forward(z, V), lambda g_age, z: call_at(answer, g_age, z, V)

    for V in (90.0, 101.0):
        fn, backward = at(V)
        cases = [{"z": faces(n, s)[1]} for n, s in SIZES[1:4]]
        gradients(fn, backward, cases, name="dex_backward")


def call_at(answer, g_age, z, V):
    return call(answer, {"g_age": g_age, "z": z, "V": V}, name="dex_backward")


@exercise(
    "09.3",
    "two_neighbours",
    (
        "Count in bins first: position = age * s / V. Age 34 with bins of 10 years is at 3.4.",
        "The whole part of the position is the lower bin, what is left is the upper bin's share.",
        "At the last bin's own age there is no bin above: keep lower <= s - 2, or write p[-1] = 1.",
    ),
)
def two_neighbours(answer):
    for s, V in ((2, 90.0), (3, 90.0), (9, 90.0), (101, 101.0)):
        top = V * (s - 1) / s
        for age in (0.0, 0.3 * top, 0.5 * top, 0.9 * top, top):
            case = {"age": age, "V": V, "s": s}
            p = np.asarray(call(answer, case, name="two_neighbours"), np.float64)
            compare(p.shape, (s,), case, name="the shape of two_neighbours")
            compare(p.sum(), 1.0, case, name="the sum of two_neighbours")
            compare(p @ (np.arange(s) * V / s), age, case, name="the expected age of your p for")
            used = np.flatnonzero(np.abs(p) > 1e-9)
            where = f"two_neighbours(age={age}, V={V}, s={s})"
            require(p.min() >= -1e-9, f"{where} has a negative probability: {p.min()}")
            require(np.ptp(used) <= 1, f"{where} uses the bins {used}, not two neighbours")


@exercise(
    "09.4",
    "bins_needed",
    (
        "A bin is V / s years wide. Where in it is one farthest from its middle?",
        "At its ends, V / (2 s) years. That has to be at most `worst`.",
        "s >= V / (2 worst), and s is a whole number: round up.",
    ),
)
def bins_needed(answer):
    cases = [{"V": 90.0, "worst": worst} for worst in (100.0, 45.0, 44.0, 15.0, 5.0, 4.9, 0.5, 0.3)]
    same(answer, right.bins_needed, cases, name="bins_needed")


@exercise(
    "09.5",
    "spread",
    (
        "How far is each bin from the expected age? A typical such distance, weighted with p.",
        "The standard deviation is one such number: a mean of squares, and then its root.",
        "np.sqrt((p * (mu - age[:, None]) ** 2).sum(axis=1)).",
    ),
)
def spread(answer):
    sure, torn = np.eye(9)[4:5], (np.eye(9)[1:2] + np.eye(9)[7:8]) / 2
    near = (np.eye(9)[3:4] + np.eye(9)[5:6]) / 2
    told = []
    for p in (sure, near, torn):
        got = np.asarray(call(answer, {"p": p, "V": 90.0}, name="spread"), np.float64)
        compare(got.shape, (1,), {"p": p, "V": 90.0}, name="the shape of spread")
        doubled = np.asarray(call(answer, {"p": p, "V": 180.0}, name="spread"), np.float64)
        compare(doubled, 2 * got, {"p": p, "V": 180.0}, name="spread")
        told.append(float(got[0]))
    certain = {"p": np.eye(9), "V": 90.0}
    compare(call(answer, certain, name="spread"), np.zeros(9), certain, name="spread")
    all_three = {"p": np.concatenate([sure, near, torn]), "V": 90.0}
    compare(call(answer, all_three, name="spread"), told, all_three, name="spread")
    require(
        told[0] < told[1] < told[2],
        f"half each in bins 3 and 5 gave {told[1]}, in bins 1 and 7 {told[2]}; "
        "the second is more torn",
    )


WRONG = {
    "09.1": [
        lambda p, V: p @ ((np.arange(p.shape[1]) + 0.5) * V / p.shape[1]),  # middles
        lambda p, V: p.argmax(axis=1) * V / p.shape[1],  # the most probable bin
    ],
    "09.2": [
        lambda g, z, V: g[:, None] * np.arange(z.shape[1]) * V / z.shape[1],  # softmax forgotten
        lambda g, z, V: -right.dex_backward(g, z, V),
    ],
    "09.3": [
        lambda age, V, s: np.eye(s)[min(int(age * s / V), s - 1)],  # the bin alone
        lambda age, V, s: np.full(s, 1 / s),
    ],
    "09.4": [
        lambda V, worst: round(V / (2 * worst)),
        lambda V, worst: int(np.ceil(V / worst)),
    ],
    "09.5": [
        lambda p, V: 1 - p.max(axis=1),  # not in years
        lambda p, V: p @ (np.arange(p.shape[1]) * V / p.shape[1]),
        lambda p, V: p @ (np.abs(np.arange(p.shape[1]) - 4) * V / p.shape[1]),  # from the middle
        lambda p, V: right.spread(p, V).sum(keepdims=True),  # of all faces
    ],
}
