"""The displayed formulas themselves, parsed and computed, against the package.

`tests/lessons/formulas` says of every formula in code what it claims. Here the text of those that
are plain arithmetic is evaluated, so that a wrong sign or index in it is seen even if it was
copied into the code.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from lessons.source import lessons
from minissr import Tensor, ops
from minissr.models.streams import TwoStreams
from minissr.ops.stagewise import SoftStagewiseRegression
from tests.lessons.formulas import latex

RNG = np.random.default_rng(0)


def formula(number: str, beginning: str) -> list[str]:
    """The right sides, without those that have derivatives, of the equation that begins so."""
    lesson = next(each for each in lessons() if each.number == number)
    found = [
        [side for side in sides[1:] if r"\partial" not in side]
        for tex in re.findall(r"\$\$(.+?)\$\$", lesson.markdown, re.DOTALL)
        for sides in latex.statements(tex)
        if squeezed("=".join(sides)).startswith(squeezed(beginning))
    ]
    assert len(found) == 1, f"{len(found)} equations of lesson {number} begin with {beginning}"
    assert found[0]
    return found[0]


def squeezed(tex: str) -> str:
    return re.sub(r"\s|\\,|\\;", "", tex)


def agree(number: str, beginning: str, wanted: Any, names: dict[str, Any]) -> None:
    """Every right side of that equation comes to `wanted`."""
    for side in formula(number, beginning):
        got = latex.value(side, names)
        assert np.isclose(got, wanted, rtol=1e-9, atol=1e-12), f"{side} is {got}, not {wanted}"


def parameters(*arrays: Any) -> list[Tensor]:
    return [Tensor(np.float64(array), requires_grad=True) for array in arrays]


# Equations 2 to 7, for stages with different numbers of bins

STAGES, V, FIRST = (2, 3, 2), 101.0, (0, 2, 5)
P, ETA = RNG.uniform(0, 1, 7), RNG.uniform(-0.8, 0.8, 7)
DELTA = RNG.uniform(-0.4, 0.8, 3)
EVERY_STAGE = (1, 2, 3)
EVERY_BIN = [(k, i, FIRST[k - 1] + i) for k in EVERY_STAGE for i in range(STAGES[k - 1])]


def stagewise(*, fixed: bool = False) -> dict[str, Any]:
    """What the package says of these inputs: age, widths, indices and gradients."""
    inputs = parameters([P], [0 * ETA if fixed else ETA], [0 * DELTA if fixed else DELTA])
    age, (width, index) = SoftStagewiseRegression.apply_with_extra(
        *inputs, stages=STAGES, min_age=0.0, max_age=V, c_delta=1.0, c_eta=1.0, floor=0.0
    )
    age.backward(np.ones(1))
    gp, geta, gdelta = (tensor.grad[0] for tensor in inputs)
    return {"age": age.item(), "w": width[0], "q": index[0], "p": gp, "eta": geta, "delta": gdelta}


def letters(k: int = 0, said: dict[str, Any] | None = None) -> dict[str, Any]:
    """What letters mean; within stage `k`, p and eta without its number. `said` has w and q."""
    mean: dict[str, Any] = {
        "K": 3, "V": V, "g": 1.0, "k": k, "j": k,
        "s": lambda j: STAGES[j - 1],
        "Delta": lambda j: DELTA[j - 1],
        "f": lambda j: 1 + DELTA[j - 1],
        "bar s": lambda j: STAGES[j - 1] * (1 + DELTA[j - 1]),
        "p": lambda i, stage=k: P[FIRST[stage - 1] + i],
        "eta": lambda i, stage=k: ETA[FIRST[stage - 1] + i],
        "range i": range(STAGES[k - 1]),
    }  # fmt: skip
    if said:
        mean |= {name: lambda j, name=name: said[name][j - 1] for name in ("w", "q")}
    return mean


def test_equation_2() -> None:
    s, z = 4, RNG.normal(size=4)
    (logits,) = parameters([z])
    p = ops.softmax(logits)
    none = Tensor(np.zeros((1, 4))), Tensor(np.zeros((1, 1)))
    age = ops.soft_stagewise_regression(p, *none, stages=(s,), max_age=V, c_delta=0.0, c_eta=0.0)
    age.backward(np.ones(1))
    names = {"s": s, "V": V, "z": z, "p": p.data[0], "mu": lambda i: i * V / s,
             "range i": range(s), "range j": range(s), "tilde y": age.item(),
             "delta": lambda i, k: float(i == k)}  # fmt: skip
    agree("09", r"\tilde y", age.item(), names)
    for k in range(s):
        agree("09", r"\mu_i", k * V / s, names | {"i": k})
        agree("09", "p_i", p.data[0, k], names | {"i": k})
        slope = r"\frac{\partial \tilde y}{\partial z_k}"
        agree("09", slope, logits.grad[0, k], names | {"k": k})
    for i in range(s):
        (again,) = parameters([z])
        ops.softmax(again).backward(np.eye(s)[i : i + 1])
        for k in range(s):
            slope = r"\frac{\partial p_i}{\partial z_k}"
            agree("09", slope, again.grad[0, k], names | {"i": i, "k": k})


def test_equation_3() -> None:
    said = stagewise(fixed=True)
    agree("10", r"\tilde y", said["age"], letters(said=said))
    for k in EVERY_STAGE:
        agree("10", "w_k", said["w"][k - 1], letters(k))
    for k, i, n in EVERY_BIN:
        slope = r"\frac{\partial \tilde y}{\partial p_i^{(k)}}"
        agree("10", slope, said["p"][n], letters(k, said) | {"i": i})


def test_equations_4_to_7() -> None:
    said = stagewise()
    before = np.concatenate([[V], said["w"]])
    for k in EVERY_STAGE:
        agree("11", r"\bar s_k", before[k - 1] / before[k], letters(k))
        agree("11", r"\bar w_k", said["w"][k - 1], letters(k))
    (shifted,) = formula("11", r"\bar i")
    agree("11", r"\tilde y", said["age"], letters() | {"bar i": shifted})


def test_the_gradient_of_equation_7() -> None:
    said = stagewise()
    for k in EVERY_STAGE:
        names = letters(k, said)
        agree("12", "f_k", 1 + DELTA[k - 1], names)
        agree("12", r"w_k = \frac{V}", said["w"][k - 1], names)
        agree("12", "q_k", said["q"][k - 1], names)
        agree("12", r"\frac{\partial \tilde y}{\partial q_k}", said["w"][k - 1], names)
        agree("12", r"\frac{\partial \tilde y}{\partial \Delta_j}", said["delta"][k - 1], names)
        for j in range(1, k + 1):  # one f longer by a little, every w of its and finer stages
            shorter = said["w"][k - 1] * (1 + DELTA[j - 1]) / (1 + DELTA[j - 1] + 1e-6)
            slope = (shorter - said["w"][k - 1]) / 1e-6
            names |= {"j": j, "A": said["w"][k - 1] * (1 + DELTA[j - 1])}
            agree("12", r"w_k = \frac{A}", said["w"][k - 1], names)
            for side in formula("12", r"\frac{\partial w_k}{\partial f_j}"):
                assert np.isclose(latex.value(side, names), slope, rtol=1e-4)
    for k, i, n in EVERY_BIN:
        names, width = letters(k, said) | {"i": i}, said["w"][k - 1]
        agree("12", r"\frac{\partial q_k}{\partial p_i}", said["p"][n] / width, names)
        agree("12", r"\frac{\partial q_k}{\partial \eta_i}", said["eta"][n] / width, names)
        agree("12", r"\frac{\partial L}{\partial p_i}", said["p"][n], names)
        agree("12", r"\frac{\partial L}{\partial \eta_i}", said["eta"][n], names)


def test_any_range() -> None:
    inputs = parameters([P], [ETA], [DELTA])
    y = ops.soft_stagewise_regression(*inputs, stages=STAGES, min_age=-45, max_age=60).item()
    agree("19", r"\tilde y", y, letters(said=stagewise()) | {"L": -45, "U": 60})


# Layers and losses


def test_lesson_01() -> None:
    p, eta, delta = parameters([[0.25, 0.75]], [[0, -0.2]], [[0.1]])
    age = ops.soft_stagewise_regression(p, eta, delta, stages=(2,), max_age=90)
    names = {"V": 90, "Delta": 0.1, "p": [0.25, 0.75], "eta": -0.2}
    agree("01", r"y = \frac{V}", age.item(), names | {"p": np.array([0.25, 0.75])})
    a, b, g = RNG.normal(size=(4, 3)), RNG.normal(size=3), RNG.normal(size=(4, 3))
    ta, tb = parameters(a, b)
    y = ta + tb
    y.backward(g)
    for i, j in np.ndindex(4, 3):
        names = {"a": a, "b": b, "bar y": g, "i": i, "j": j, "range i": range(4)}
        agree("01", "y_{ij}", y.data[i, j], names)
        agree("01", r"\bar{b}_j", tb.grad[j], names)


def test_lesson_02() -> None:
    y, t = RNG.normal(40, 20, (2, 5))
    (prediction,) = parameters(y)
    loss = ops.mae(prediction, t)
    loss.backward()
    names: dict[str, Any] = {"y": y, "t": t, "N": 5, "range n": range(5)}
    agree("02", "J", loss.item(), names)
    for n in range(5):
        agree("02", r"\bar{y}_n", prediction.grad[n], names | {"n": n})
    h, w, b = parameters(RNG.normal(size=(4, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=2))
    g = RNG.normal(size=(4, 2))
    ops.dense(h, w, b).backward(g)
    names = {"h": h.data, "W": w.data, "bar y": g, "range n": range(4), "range o": range(2)}
    for n, i, o in np.ndindex(4, 3, 2):
        at = names | {"n": n, "i": i, "o": o}
        agree("02", r"\bar{W}_{io}", w.grad[i, o], at)
        agree("02", r"\bar{h}_{ni}", h.grad[n, i], at)
        agree("02", r"\bar{b}_o", b.grad[o], at)
    (z,) = parameters(0.7)
    bent = ops.tanh(z)
    bent.backward(3.0)
    agree("02", r"h = \tanh", bent.item(), {"z": 0.7})
    agree("02", r"\bar{z}", float(z.grad), {"bar h": 3.0, "h": bent.item()})


def test_lesson_03() -> None:
    def f(x: float) -> float:
        return max(x, 0.0)

    agree("03", "B(h)", 1.0, {"f": f, "x": 0.0, "h": 0.25})
    agree("03", "B(h)", 0.0, {"f": f, "x": 1.0, "h": 0.25})


def test_lesson_04() -> None:
    x, w, b = parameters(RNG.normal(size=(2, 4, 3, 2)), RNG.normal(size=(3, 2, 2, 3)), np.ones(3))
    y = ops.conv2d(x, w, b)
    g = RNG.normal(size=y.shape)
    y.backward(g)
    inside = np.zeros((2, 12, 12, 3))  # bar y, zero outside: index -1 is the last
    inside[:, : y.shape[1], : y.shape[2]] = g
    names = {"x": x.data, "w": w.data, "b": b.data, "bar y": inside, "range n": range(2),
             "range i": range(2), "range j": range(2), "range u": range(3), "range v": range(2),
             "range k": range(2), "range q": range(3)}  # fmt: skip
    ranges = {"range i": range(y.shape[1]), "range j": range(y.shape[2])}
    for q in range(3):
        agree("04", r"\bar{b}", b.grad[q], names | ranges | {"bar y": g[..., q]})
    for place in np.ndindex(y.shape):
        at = dict(zip("nijq", place, strict=True))
        agree("04", "y_{nijq}", y.data[place], names | at)
    for place in np.ndindex(w.shape):
        at = dict(zip("uvkq", place, strict=True))
        agree("04", r"\bar{w}_{uvkq}", w.grad[place], names | at)
    for place in np.ndindex(x.shape):
        at = dict(zip("nhmk", place, strict=True))
        agree("04", r"\bar{x}_{nhmk}", x.grad[place], names | at)


def test_lesson_07() -> None:
    window = RNG.normal(size=4)
    (x,) = parameters(window.reshape(1, 2, 2, 1))
    y = ops.avg_pool(x)
    y.backward(np.full((1, 1, 1, 1), 2.0))
    agree("07", r"y^{\text{avg}}", y.item(), {"x": window, "range r": range(4)})
    agree("07", r"\bar{x}_r^{\text{avg}}", x.grad[0, 1, 0, 0], {"bar y": 2.0})
    for value in (-1.5, 0.0, 2.0):
        agree("07", r"\operatorname{relu}(x)", ops.relu(Tensor(np.float64(value))).item(),
              {"x": value})  # fmt: skip


def test_lesson_08() -> None:
    M, eps = 5, 1e-3
    x, gamma, beta = parameters(RNG.normal(2, 3, (M, 1)), [1.3], [0.4])
    y, mean, var = ops.batch_norm(x, gamma, beta)
    g = RNG.normal(size=M)
    y.backward(g[:, None])
    xhat = (y.data[:, 0] - 0.4) / 1.3
    names = {"M": M, "epsilon": eps, "x": x.data[:, 0], "mu": mean[0], "v": var[0], "gamma": 1.3,
             "beta": 0.4, "hat x": xhat, "range n": range(M), "r": (var[0] + eps) ** -0.5,
             "bar y": g, "bar beta": beta.grad[0], "bar gamma": gamma.grad[0]}  # fmt: skip
    agree("08", r"\mu =", mean[0], names)
    agree("08", "v =", var[0], names)
    for n in range(M):
        agree("08", r"\hat{x}_n", xhat[n], names | {"n": n})
        agree("08", "y_n", y.data[n, 0], names | {"n": n})
        agree("08", r"\bar{x}_n", x.grad[n, 0], names | {"n": n})
    for m in range(M):
        (again,) = parameters(x.data)
        out, *_ = ops.batch_norm(again, Tensor(np.ones(1)), Tensor(np.zeros(1)))
        out.backward(np.eye(M)[m][:, None])
        for n in range(M):
            slope = r"\frac{\partial \hat{x}_m}{\partial x_n}"
            agree("08", slope, again.grad[n, 0], names | {"m": m, "n": n})


def test_lesson_13() -> None:
    streams = TwoStreams(50, filters_s=5, filters_x=7, pool_last=True, rng=RNG)
    size = 50
    for after in streams.sizes:
        agree("13", "n'", after, {"n": size})
        size = after
    for c_in, block in zip((3, 7, 7, 7), streams.x, strict=True):
        names = {"C_in": c_in, "C_out": 7}
        agree("13", r"n_{\text{block}}", block.parameter_count(), names)


def test_lesson_18() -> None:
    one, shared = 3.0, 7.0  # ms that cannot be divided, and that can
    for n in (1, 2, 16):
        agree("18", "S(n)", (one + shared) / (one + shared / n), {"a": shared / 10, "n": n})


@pytest.mark.parametrize(
    ("tex", "value"),
    [
        ("2 + 3 x", 14), ("-x^2", -16), (r"\frac{x}{2} x", 8), ("x / 2 / 2", 1), ("(1 - x) x", -12),
        (r"\sum_{i=1}^{3} i^2 + 1", 15), (r"\prod_{i=1}^{x} i", 24), (r"|1 - x| x", 12),
        (r"\sqrt{x} + \max(x, 5)", 7), (r"[x = 4] - [x = 5]", 1), (r"\sum_{k \ge 3} k", 7),
        (r"\left\lfloor \frac{x - 1}{2} \right\rfloor", 1),
    ],
)  # fmt: skip
def test_the_parser(tex: str, value: float) -> None:
    assert latex.value(tex, {"x": 4, "K": 4}) == pytest.approx(value)


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises((ValueError, KeyError)):
        latex.value(r"\int x", {"x": 1})
