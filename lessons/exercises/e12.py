"""The exercises of lesson 12: the gradient of soft stagewise regression."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, gradients, require, same
from lessons.solutions import e12 as right

STAGES = [(1,), (2,), (3, 3), (2, 4), (3, 3, 3)]


def inputs(n, stages, seed=12):
    """p that adds up to 1 in each stage, eta and delta, with few decimals."""
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.dirichlet(np.ones(s), n) for s in stages], axis=1)
    eta, delta = rng.uniform(-0.8, 0.8, p.shape), rng.uniform(-0.5, 0.8, (n, len(stages)))
    return p.round(3), eta.round(2), delta.round(2)


def widths(delta, stages, V=90.0, floor=0.0):
    return V / np.cumprod(np.array(stages) * np.maximum(1 + delta, floor), axis=1)


def ages(p, eta, delta, stages, V=90.0, floor=0.0):
    w, total, first = widths(delta, stages, V, floor), 0.0, 0
    for k, s in enumerate(stages):
        bins = slice(first, first + s)
        total = total + w[:, k] * (p[:, bins] * (np.arange(s) + eta[:, bins])).sum(axis=1)
        first += s
    return total


@exercise(
    "12.1",
    "backward_index",
    (
        "Write q out for s = 2: p_0 eta_0 + p_1 (1 + eta_1). Its slopes?",
        "d q / d p_i = i + eta_i and d q / d eta_i = p_i; then the chain rule with g_q.",
        "g_q[:, None] * (np.arange(s) + eta), g_q[:, None] * p.",
    ),
)
def backward_index(answer):
    cases = []
    for n, s in ((1, 1), (1, 2), (2, 3)):
        p, eta, _ = inputs(n, (s,))
        cases.append({"p": p, "eta": eta})
    gradients(
        lambda p, eta: (p * (np.arange(p.shape[1]) + eta)).sum(axis=1),
        answer, cases, name="backward_index",
    )  # fmt: skip


@exercise(
    "12.2",
    "backward_widths",
    (
        "In which widths does f_j stand? What is the slope of w_k there?",
        "d w_k / d f_j = -w_k / f_j for k >= j. Multiply with g_w and sum over those k.",
        "-np.cumsum((g_w * w)[:, ::-1], axis=1)[:, ::-1] / (1 + delta).",
    ),
)
def backward_widths(answer):
    for stages in STAGES:

        def backward(g_w, delta, stages=stages):
            case = {"g_w": g_w, "delta": delta, "stages": stages, "V": 90.0}
            return call(answer, case, name="backward_widths")

        cases = [{"delta": inputs(n, stages)[2]} for n in (1, 2)]
        gradients(lambda delta, stages=stages: widths(delta, stages), backward, cases,
                  name="backward_widths")  # fmt: skip


@exercise(
    "12.3",
    "backward_age",
    (
        "The widths use f = np.maximum(1 + delta, floor). p and eta are as in 12.1, with g w_k.",
        "delta: as in 12.2 with g_w = g q, but the floor makes f a constant where it holds.",
        "np.where(1 + delta > floor, gdelta, 0.0) at the end.",
    ),
)
def backward_age(answer):
    for stages in STAGES:
        for floor in (0.0, 0.9):

            def backward(g, p, eta, delta, stages=stages, floor=floor):
                case = {"g": g, "p": p, "eta": eta, "delta": delta, "stages": stages,
                        "V": 90.0, "floor": floor}  # fmt: skip
                return call(answer, case, name="backward_age")

            cases = [
                dict(zip(("p", "eta", "delta"), inputs(n, stages), strict=True)) for n in (1, 2)
            ]
            gradients(
                lambda p, eta, delta, s=stages, floor=floor: ages(p, eta, delta, s, floor=floor),
                backward, cases, name="backward_age", allow_kinks=True,
            )  # fmt: skip


@exercise(
    "12.4",
    "backward_logit",
    (
        "Chain rule: d age / d delta = -age_part / f, and d delta / d z = 1 - tanh(z)^2.",
        "f = 1 + tanh(z) is a factor of 1 - tanh(z)^2, so it cancels. What is left?",
        "-g * age_part * (1 - np.tanh(z)).",
    ),
)
def backward_logit(answer):
    def at(*z):
        z = np.float64(z)
        return {"g": np.ones_like(z), "age_part": 40 + 0 * z, "z": z}

    for case in (at(0.0), at(1.0), at(-2.0, 3.0), at(-30.0), at(-800.0, 800.0)):
        with np.errstate(all="ignore"):
            got = np.asarray(call(answer, case, name="backward_logit"), np.float64)
        require(np.isfinite(got).all(), f"backward_logit at z = {case['z']} is {got}, not finite")
        compare(got, right.backward_logit(**case), case, name="backward_logit")
    same(answer, right.backward_logit, [{**at(0.5, -1.5), "g": np.float64([2, -3])}])


WRONG = {
    "12.1": [
        lambda g, p, eta: (g[:, None] * (np.arange(p.shape[1]) + 0 * eta), g[:, None] * p),
        lambda g, p, eta: (g[:, None] * (np.arange(p.shape[1]) + eta), g[:, None] + 0 * p),
    ],
    "12.2": [
        lambda g, delta, stages, V: -g * widths(delta, stages, V) / (1 + delta),  # finer forgotten
        lambda g, delta, stages, V: -right.backward_widths(g, delta, stages, V),
    ],
    "12.3": [
        lambda g, p, eta, delta, stages, V, floor: right.backward_age(
            g, p, eta, delta, stages, V, 0.0
        ),
        lambda g, p, eta, delta, stages, V, floor: right.backward_age(
            np.ones_like(g), p, eta, 0 * delta, stages, V, floor
        ),
    ],
    "12.4": [
        lambda g, part, z: -g * part / (1 + np.tanh(z)) * (1 - np.tanh(z) ** 2),
        lambda g, part, z: -g * part / (1 + np.tanh(z)),
    ],
}
