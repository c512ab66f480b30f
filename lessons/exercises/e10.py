"""The exercises of lesson 10: stagewise regression."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, gradients, require, same
from lessons.solutions import e10 as right

STAGES = [(1,), (2,), (3, 3), (2, 4), (3, 3, 3), (2, 5, 3)]


@exercise(
    "10.1",
    "bin_ages",
    (
        "First the widths: V divided by the product of the numbers of bins so far.",
        "np.cumprod(stages) has those products; bin i of stage k adds i times its width.",
        "One np.arange(s) * w for each stage, and np.concatenate.",
    ),
)
def bin_ages(answer):
    cases = [{"stages": stages, "V": 90.0} for stages in STAGES]
    same(answer, right.bin_ages, cases, name="bin_ages")


@exercise(
    "10.2",
    "certain",
    (
        "How often does the width of stage 1 fit into the age? That is its digit.",
        "Take digit times width away from the age; the rest is for the next, narrower stage.",
        "np.eye(s)[digit] is a row with a single one; concatenate a row for each stage.",
    ),
)
def certain(answer):
    cases = [
        {"age": age, "stages": stages, "V": 90.0}
        for stages in STAGES[1:]
        for age in (0.0, 29.0, 31.0, 50.0, 75.0, 89.5)
    ]
    same(answer, right.certain, cases, name="certain")


@exercise(
    "10.3",
    "stagewise_backward",
    (
        "Does the slope of a straight line depend on where you stand on it?",
        "d age / d p_i = i w_k, the same row for every face: exercise 10.1.",
        "Row n is g_age[n] times that row: g_age[:, None] * bin_ages(stages, V).",
    ),
)
def stagewise_backward(answer):
    rng = np.random.default_rng(10)
    for stages in STAGES[1:]:

        def backward(g_age, p, stages=stages):
            case = {"g_age": g_age, "p": p, "stages": stages, "V": 90.0}
            return call(answer, case, name="stagewise_backward")

        row = right.bin_ages(stages, 90.0)
        cases = [{"p": rng.uniform(0, 1, (n, sum(stages))).round(2)} for n in (1, 2)]
        gradients(lambda p, row=row: p @ row, backward, cases, name="stagewise_backward")


@exercise(
    "10.4",
    "thriftiest",
    (
        "Try by hand: 10 classes. (10,) costs 10, (2, 5) costs 7, (3, 4) also 7, (2, 2, 3) too.",
        "If the first stage has s bins, the others have to resolve classes / s, rounded up.",
        "thriftiest(c) = the least of c and of s + thriftiest(ceil(c / s)) for s = 2, 3, ...",
    ),
)
def thriftiest(answer):
    cases = [{"classes": c} for c in (2, 3, 4, 5, 7, 9, 10, 27, 28, 50, 101, 1000)]
    same(answer, right.thriftiest, cases, name="thriftiest")


@exercise(
    "10.5",
    "soft_digits",
    (
        "The age is 30 times stage 1's index plus 10 times stage 2's; an index goes from 0 to 2.",
        "Nothing forbids stage 2 from moving together with stage 1: 30 x + 10 x = age.",
        "x = age / 40 for both stages; two neighbouring bins make an index x, as in lesson 09.",
    ),
)
def soft_digits(answer):
    row = right.bin_ages((3, 3), 90.0)
    before = None
    for age in np.arange(0, 80.05, 0.1).round(1):
        case = {"age": float(age)}
        p = np.asarray(call(answer, case, name="soft_digits"), np.float64)
        compare(p.shape, (6,), case, name="the shape of soft_digits")
        compare(p @ row, age, case, name="the age of your p for soft_digits")
        compare(p.reshape(2, 3).sum(axis=1), np.ones(2), case, name="each stage's sum in")
        require(p.min() >= -1e-9, f"soft_digits(age={age}) has a negative probability {p.min()}")
        if before is not None and (moved := np.abs(p - before).max()) > 0.02:
            require(False, f"from age {age - 0.1:.1f} to {age} a probability moves by {moved:.3f}")
        before = p


WRONG = {
    "10.1": [
        lambda stages, V: np.concatenate([np.arange(s) * V / s for s in stages]),  # no product
        lambda stages, V: np.concatenate(
            [(np.arange(s) + 1) * w for s, w in zip(stages, V / np.cumprod(stages), strict=True)]
        ),
    ],
    "10.2": [
        lambda age, stages, V: np.concatenate(
            [np.eye(s)[min(int(age * s / V), s - 1)] for s in stages]  # nothing taken away
        ),
    ],
    "10.3": [
        lambda g, p, stages, V: np.tile(right.bin_ages(stages, V), (len(p), 1)) * g.sum(),
        lambda g, p, stages, V: g[:, None] * p * right.bin_ages(stages, V),
    ],
    "10.4": [
        lambda classes: 3 * int(np.ceil(np.log(classes) / np.log(3))),  # threes only
        lambda classes: classes,
    ],
    "10.5": [
        lambda age: right.certain(age, (3, 3), 90.0),
        lambda age: np.float64([1, 0, 0, 1, 0, 0]),
    ],
}
