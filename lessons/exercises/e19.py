"""The exercises of lesson 19: other quantities."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, require, same
from lessons.solutions import e19 as right


@exercise(
    "19.1",
    "circular_error",
    (
        "350 and 10: the difference is 340, and the shorter way is 20. What is 340 + 20?",
        "(a - b) % 360 is the way in one direction; 360 minus that is the other way.",
        "np.minimum((a - b) % 360, 360 - (a - b) % 360).",
    ),
)
def circular_error(answer):
    pairs = ([10], [20]), ([350], [10]), ([0, 90], [180, 91]), ([-10, 725], [370, 0])
    cases = [{"a": np.float64(a), "b": np.float64(b)} for a, b in pairs]
    same(answer, right.circular_error, cases, name="circular_error")


@exercise(
    "19.2",
    "bounded",
    (
        "Only two things are new against lesson 11: what V is, and what is added.",
        "V = high - low; the result is low + the sum of width times index.",
        "Start with total = low and width = high - low, divide by s (1 + delta) in each stage.",
    ),
)
def bounded(answer):
    rng = np.random.default_rng(19)
    cases = []
    for stages in ((2,), (3, 3), (2, 4), (3, 3, 3)):
        for low, high in ((0.0, 90.0), (-45.0, 45.0), (35.0, 42.0)):
            p = np.concatenate([rng.dirichlet(np.ones(s), 2) for s in stages], axis=1).round(2)
            eta, delta = rng.uniform(-0.8, 0.8, p.shape), rng.uniform(-0.5, 0.8, (2, len(stages)))
            cases.append({"p": p, "eta": eta.round(2), "delta": delta.round(2), "stages": stages,
                          "low": low, "high": high})  # fmt: skip
    same(answer, right.bounded, cases, name="bounded")


@exercise(
    "19.3",
    "mean_direction",
    (
        "The mean of 350 and 10 should be 0: add arrows, not numbers.",
        "An arrow is (cos, sin). Add all cosines and all sines; np.arctan2 gives the direction.",
        "np.rad2deg(np.arctan2(sin.sum(), cos.sum())) % 360.",
    ),
)
def mean_direction(answer):
    for degrees in ([30], [80, 100], [350, 20], [350, 355, 5, 30], [170, 190, 200], [-90, -80]):
        case = {"degrees": np.float64(degrees)}
        got = float(call(answer, case, name="mean_direction"))
        require(0 <= got < 360, f"mean_direction({degrees}) is {got}; expected 0 to below 360")
        apart = right.circular_error(np.float64([got]), np.float64([right.mean_direction(**case)]))
        wanted = right.mean_direction(**case)
        require(
            apart[0] < 1e-6, f"mean_direction({degrees})\n  gave     {got}\n  expected {wanted}"
        )


@exercise(
    "19.4",
    "circular_loss",
    (
        "Which function of an angle is the same after a whole turn, and smooth?",
        "The cosine is 1 where both agree and -1 where they are opposite.",
        "1 - np.cos(np.deg2rad(a - b)).",
    ),
)
def circular_loss(answer):
    def loss(a, b):
        case = {"a": np.float64(a), "b": np.float64(b)}
        got = np.asarray(call(answer, case, name="circular_loss"), np.float64)
        compare(got.shape, case["a"].shape, case, name="the shape of circular_loss")
        return got

    a = np.linspace(0, 355, 72)
    require(np.abs(loss(a, a)).max() < 1e-9, "where both agree the loss is not 0")
    apart = np.linspace(0, 180, 37)
    grows = loss(apart, 0 * apart)
    require((np.diff(grows) > 0).all(), f"farther apart is not larger: {grows.round(3)[:6]} ...")
    require(np.allclose(loss(a, 0 * a), loss(a + 360, 0 * a)), "adding 360 to one changes the loss")
    require(np.allclose(loss(a, 0 * a), loss(a + 77, 77 + 0 * a)), "turning both changes the loss")
    near = np.float64([-1e-3, 0, 1e-3])
    for where in (0.0, 180.0):
        slopes = np.diff(loss(near + where, 0 * near)) / 1e-3
        require(
            abs(slopes[1] - slopes[0]) < 1e-3 * max(1e-6, grows.max()),
            f"there is a kink at {where:g} degrees: the slope jumps from {slopes[0]:.2g} to "
            f"{slopes[1]:.2g}",
        )


WRONG = {
    "19.1": [
        lambda a, b: np.abs(a - b),
        lambda a, b: (a - b) % 360,
    ],
    "19.2": [
        lambda p, eta, delta, stages, low, high: (
            right.bounded(p, eta, delta, stages, 0.0, high - low)
        ),
        lambda p, eta, delta, stages, low, high: low + right.bounded(
            p, eta, delta, stages, 0.0, high
        ),
    ],
    "19.3": [
        lambda degrees: float(np.mean(degrees) % 360),
        lambda degrees: float(np.rad2deg(np.arctan2(*[f(np.deg2rad(degrees)).sum()
                                                      for f in (np.cos, np.sin)])) % 360),
    ],
    "19.4": [
        lambda a, b: right.circular_error(a, b),  # a kink
        lambda a, b: (a - b) ** 2,
    ],
}  # fmt: skip
