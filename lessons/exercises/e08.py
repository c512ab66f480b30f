"""Lesson 08: moving averages, batch norm's backward, folding, layer norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, call, compare, gradients, same
from minissr import Tensor, ops

EPS = 1e-3


def remembered(start: float, batches: Any, momentum: float) -> float:
    for batch in batches:
        start = momentum * start + (1 - momentum) * float(batch)
    return start


@exercise(
    "08.1",
    "moving",
    (
        "With a momentum of 0.99, which share of the new value comes from the batch?",
        "new = momentum * old + (1 - momentum) * batch, one batch after the other.",
        "for batch in batches: remembered = momentum * remembered + (1 - momentum) * batch",
    ),
)
def moving(answer: Any) -> None:
    cases: list[Case] = [
        {"remembered": 3.0, "batches": [], "momentum": 0.99},
        {"remembered": 0.0, "batches": [1.0], "momentum": 0.75},
        {"remembered": 0.0, "batches": [1.0, 5.0], "momentum": 0.5},
        {"remembered": 2.0, "batches": [5.0] * 100, "momentum": 0.99},
    ]
    same(answer, remembered, cases, name="moving")


def normalised(x: Any, gamma: Any, beta: Any) -> Any:
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    return gamma * (x - mean) / np.sqrt(var + EPS) + beta


@exercise(
    "08.2",
    "batch_norm_backward",
    (
        "Compute mean, var and xhat again; beta's and gamma's gradients first.",
        "g_beta = gy.sum(0), g_gamma = (gy * xhat).sum(0). Then take gy's mean and its trend along "
        "xhat away.",
        "gamma / np.sqrt(var + eps) * (gy - g_beta / M - xhat * g_gamma / M), g_gamma, g_beta",
    ),
)
def batch_norm_backward(answer: Any) -> None:
    rng = np.random.default_rng(0)
    cases = [
        {"x": rng.normal(2, 3, (m, c)), "gamma": rng.normal(1, 0.5, c), "beta": rng.normal(size=c)}
        for m, c in [(2, 1), (3, 1), (3, 2), (6, 4)]
    ]
    gradients(normalised, answer, cases, name="batch_norm_backward")


@exercise(
    "08.3",
    "fold",
    (
        "In use y = gamma (z - mean) / sqrt(var + eps) + beta: a factor and a summand for each "
        "channel.",
        "z = M w + b. The factor a = gamma / sqrt(var + eps) can go into w, channel by channel.",
        "w * a, (b - mean) * a + beta: the last axis of w is the output channel.",
    ),
)
def fold(answer: Any) -> None:
    rng = np.random.default_rng(0)
    for kh, kw, c, co in [(1, 1, 1, 1), (1, 1, 1, 2), (3, 3, 1, 1), (3, 2, 2, 3), (3, 3, 3, 3)]:
        x = rng.normal(size=(2, 4, 4, c))
        w, b, beta, mean = (rng.normal(size=s) for s in ((kh, kw, c, co), co, co, co))
        gamma, var = rng.normal(1, 0.3, co), rng.uniform(0.1, 2, co)
        case: Case = {"w": w, "b": b, "gamma": gamma, "beta": beta, "mean": mean, "var": var}
        got = call(answer, case, name="fold")
        a = gamma / np.sqrt(var + EPS)
        compare(got, (w * a, (b - mean) * a + beta), case, name="fold")
        y = ops.conv2d(Tensor(x), Tensor(np.asarray(got[0])), Tensor(np.asarray(got[1]))).data
        z = ops.conv2d(Tensor(x), Tensor(w), Tensor(b))
        wanted = ops.batch_norm(z, Tensor(gamma), Tensor(beta), mean, var)[0].data
        compare(y, wanted, case, name="the convolution with the weights of fold")


def layer_normalised(x: Any) -> Any:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPS)


@exercise(
    "08.4",
    "layer_norm_backward",
    (
        "Turn the table x by a quarter turn: rows become columns.",
        "It is batch norm of x.T with gamma = 1, M the number of channels; turn the result back.",
        "r * (gy - gy.mean(1, keepdims=True) - xhat * (gy * xhat).mean(1, keepdims=True))",
    ),
)
def layer_norm_backward(answer: Any) -> None:
    rng = np.random.default_rng(0)
    cases = [{"x": rng.normal(1, 2, shape)} for shape in [(1, 2), (1, 3), (2, 3), (4, 6)]]
    gradients(layer_normalised, answer, cases, name="layer_norm_backward")


def the_other_way_round(start: Any, batches: Any, momentum: Any) -> Any:
    for batch in batches:
        start = (1 - momentum) * start + momentum * batch
    return start


def statistics_as_constants(gy: Any, x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = x.mean(axis=0), x.var(axis=0)
    r = 1 / np.sqrt(var + EPS)
    return gamma * r * gy, (gy * (x - mean) * r).sum(axis=0), gy.sum(axis=0)


def forgets_the_trend(gy: Any, x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = x.mean(axis=0), x.var(axis=0)
    r = 1 / np.sqrt(var + EPS)
    g_beta = gy.sum(axis=0)
    return gamma * r * (gy - g_beta / len(x)), (gy * (x - mean) * r).sum(axis=0), g_beta


def forgets_the_bias(w: Any, b: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    a = gamma / np.sqrt(var + EPS)
    return w * a, b - mean * a + beta


def over_the_rows(gy: Any, x: Any) -> Any:
    gamma = np.ones(x.shape[1])
    mean, var = x.mean(axis=0), x.var(axis=0)
    r = 1 / np.sqrt(var + EPS)
    xhat = (x - mean) * r
    return gamma * r * (gy - gy.mean(axis=0) - xhat * (gy * xhat).mean(axis=0))


WRONG = {
    "08.1": [the_other_way_round],
    "08.2": [statistics_as_constants, forgets_the_trend],
    "08.3": [forgets_the_bias],
    "08.4": [over_the_rows],
}
