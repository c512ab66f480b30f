"""Soft stagewise regression: the paper's equations as properties, the floor, the pole, errors.

Its gradient is checked with the others', in test_gradients.py, with more examples than any.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given

from minissr import Tensor, gradcheck, ops, use_backend
from minissr.ops.stagewise import FLOOR, SoftStagewiseRegression
from tests.conftest import CPU_BACKENDS
from tests.ops.case import Case
from tests.ops.cases import stage_outputs


def age_of(p, eta, delta, **settings) -> np.ndarray:
    tensors = (Tensor(np.asarray(a, float)) for a in (p, eta, delta))
    return ops.soft_stagewise_regression(*tensors, **settings).data


def parts_of(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Age, width and index."""
    op = SoftStagewiseRegression
    age, (width, index) = op.apply_with_extra(*map(Tensor, case.inputs), **case.settings)
    return age.data, width, index


def by_the_equations(case: Case) -> list[float]:
    """One image, stage and bin at a time, in the paper's order."""
    s = case.settings
    ages = []
    for p, eta, delta in zip(*case.inputs, strict=True):
        age, bins, first = s["min_age"], 1.0, 0
        for stage, count in enumerate(s["stages"]):
            stretch = 1 + s["c_delta"] * delta[stage]
            bins *= count * (max(stretch, s["floor"]) if s["floor"] else stretch)  # Eq. 4
            width = (s["max_age"] - s["min_age"]) / bins  # Eq. 5
            for i in range(count):
                shifted = i + s["c_eta"] * eta[first + i]  # Eq. 6
                age += p[first + i] * shifted * width  # Eq. 7
            first += count
        ages.append(age)
    return ages


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_equation_7(backend: str) -> None:
    @given(stage_outputs())
    def agrees(case: Case) -> None:
        with use_backend(backend):
            age, width, index = parts_of(case)
        expected = by_the_equations(case)
        np.testing.assert_allclose(age, expected, rtol=1e-12, atol=1e-10)
        again = case.settings["min_age"] + (width * index).sum(axis=1)
        np.testing.assert_allclose(age, again, rtol=1e-12, atol=1e-10)

    agrees()


@given(stage_outputs())
def test_without_shift_and_stretch_it_is_equation_3(case: Case) -> None:
    """eta = delta = 0, or their coefficients 0: fixed bins of V / prod s_j years."""
    p, eta, delta = case.inputs
    off = {**case.settings, "c_delta": 0.0, "c_eta": 0.0}
    expected, first, bins = np.full(len(p), off["min_age"]), 0, 1
    for count in off["stages"]:
        bins *= count
        width = (off["max_age"] - off["min_age"]) / bins
        expected += p[:, first : first + count] @ np.arange(count) * width
        first += count
    np.testing.assert_allclose(age_of(p, eta, delta, **off), expected, rtol=1e-12, atol=1e-10)
    zeros = age_of(p, np.zeros_like(eta), np.zeros_like(delta), **case.settings)
    np.testing.assert_allclose(zeros, expected, rtol=1e-12, atol=1e-10)


def test_one_stage_is_dex_equation_2() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(101), 4)
    age = age_of(p, np.zeros((4, 101)), np.zeros((4, 1)), stages=(101,), max_age=101)
    np.testing.assert_allclose(age, p @ np.arange(101), rtol=1e-13)


def test_the_paper_s_example_of_90_years() -> None:
    """Section 3.2: V = 90 in two stages of three bins: widths 30 and 10."""
    case = Case(
        (np.array([[0.2, 0.5, 0.3, 0.1, 0.1, 0.8]]), np.zeros((1, 6)), np.zeros((1, 2))),
        {"stages": (3, 3), "min_age": 0, "max_age": 90, "c_delta": 1, "c_eta": 1, "floor": FLOOR},
    )
    age, width, index = parts_of(case)
    np.testing.assert_allclose(width, [[30, 10]], rtol=1e-15)
    np.testing.assert_allclose(index, [[1.1, 1.7]], rtol=1e-15)
    np.testing.assert_allclose(age, [33 + 17], rtol=1e-15)


@given(stage_outputs())
def test_age_is_linear_in_p(case: Case) -> None:
    p, eta, delta = case.inputs
    other = np.random.default_rng(0).uniform(0, 1, p.shape)
    low = case.settings["min_age"]

    def years(p: np.ndarray) -> np.ndarray:
        return age_of(p, eta, delta, **case.settings) - low

    mixed = years(2 * p - 3 * other)
    np.testing.assert_allclose(mixed, 2 * years(p) - 3 * years(other), rtol=1e-9, atol=1e-8)


@given(stage_outputs())
def test_one_image_does_not_touch_another(case: Case) -> None:
    """The slip of the released code again: image n's age is a function of image n alone."""
    together = age_of(*case.inputs, **case.settings)
    alone = [
        age_of(*(a[n : n + 1] for a in case.inputs), **case.settings) for n in range(len(together))
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_delta_stretches_its_stage_and_all_finer_ones() -> None:
    op, ones = SoftStagewiseRegression, Tensor(np.ones((1, 9)))
    settings = {
        "stages": (3, 3, 3),
        "min_age": 0,
        "max_age": 101,
        "c_delta": 1,
        "c_eta": 1,
        "floor": FLOOR,
    }
    widths = []
    for delta in ([0.0, 0, 0], [0, 1.0, 0]):
        _, (width, _) = op.apply_with_extra(ones, ones, Tensor(np.array([delta])), **settings)
        widths.append(width[0])
    np.testing.assert_allclose(widths[1] / widths[0], [1, 0.5, 0.5], rtol=1e-15)


# ---- the floor and the pole -------------------------------------------------------------------


def differentiable(delta: list[float], dtype: str = "float64", **settings) -> tuple[Tensor, Tensor]:
    """The age of one image with two stages of two bins, and its delta."""
    p, eta = (Tensor(np.full((1, 4), 0.5, dtype)) for _ in "ab")
    d = Tensor(np.array([delta], dtype), requires_grad=True)
    return ops.soft_stagewise_regression(p, eta, d, stages=(2, 2), **settings), d


def test_saturated_tanh_has_a_finite_age_and_no_gradient(backend: str) -> None:
    """float32 tanh(-20) is exactly -1, where the equation divides by 0."""
    saturated = float(np.tanh(np.float32(-20)))
    assert saturated == -1
    with use_backend(backend):
        age, delta = differentiable([saturated, 0.5], dtype="float32")
        age.backward(np.ones(1, np.float32))
    assert np.isfinite(age.data).all()
    assert delta.grad[0, 0] == 0
    assert delta.grad[0, 1] != 0


@pytest.mark.parametrize("floor", [2.0**-10, 0.25])  # 1 + (floor - 1) is exact
def test_below_the_floor_is_as_at_the_floor(floor: float, backend: str) -> None:
    """And the kink itself counts as held; just above it the gradient is the equation's."""
    with use_backend(backend):
        ages, slopes = [], []
        for delta in (-5.0, -1.0, floor - 1, floor - 1 + 1e-9):
            age, d = differentiable([delta, 0.0], floor=floor)
            age.backward(np.ones(1))
            ages.append(age.item())
            slopes.append(d.grad[0, 0])
    assert ages[0] == ages[1] == ages[2]
    assert ages[3] == pytest.approx(ages[2], rel=1e-5)
    assert slopes[:3] == [0, 0, 0]
    assert slopes[3] == pytest.approx(-ages[3] / floor, rel=1e-5)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_below_the_floor_the_gradient_is_still_right(backend: str) -> None:
    """Where the floor holds, for all inputs, by finite differences."""
    rng = np.random.default_rng(0)
    p, eta = rng.uniform(0, 1, (3, 5)), rng.uniform(-1, 1, (3, 5))
    delta = np.array([[-0.95, 0.3], [0.2, -0.9], [-1.2, -1.0]])
    with use_backend(backend):
        report = gradcheck(
            ops.soft_stagewise_regression,
            [p, eta, delta],
            settings={"stages": (2, 3), "floor": 0.2},
            mode="elements",
        )
    assert report.worst.error < 1e-6


def test_floor_zero_is_the_equation_as_printed(backend: str) -> None:
    with use_backend(backend), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        pole, _ = differentiable([-1.0, 0.0], floor=0)
        beyond, delta = differentiable([-1.5, 0.0], floor=0)
        beyond.backward(np.ones(1))
    assert np.isinf(pole.data).all()
    assert beyond.item() < 0
    assert delta.grad[0, 0] != 0


# ---- what is refused --------------------------------------------------------------------------

GOOD = {"p": (2, 5), "eta": (2, 5), "delta": (2, 2)}


def refused(message: str, shapes=None, **settings) -> None:
    tensors = {name: Tensor(np.ones(shape)) for name, shape in {**GOOD, **(shapes or {})}.items()}
    with pytest.raises(ValueError, match=message):
        ops.soft_stagewise_regression(**tensors, **{"stages": (2, 3), **settings})


@pytest.mark.parametrize("stages", [(), (3, 0), (3, -1), (2.5, 2.5), ("2", "3")])
def test_stages(stages) -> None:
    refused(r"stages \(.*\); expected one or more whole numbers >= 1", stages=stages)


def test_shapes() -> None:
    refused(r"p of shape \(2, 5\); stages \(3, 3\) need \(N, 6\)", stages=(3, 3))
    refused(r"p of shape \(5,\); stages", {"p": (5,)})
    refused(r"eta of shape \(2, 4\); expected that of p, \(2, 5\)", {"eta": (2, 4)})
    refused(
        r"delta of shape \(2, 1\); 2 images and stages \(2, 3\) need \(2, 2\)", {"delta": (2, 1)}
    )


def test_settings() -> None:
    refused(
        "ages from 50 to 50; expected two finite numbers, min_age < max_age", min_age=50, max_age=50
    )
    refused("ages from 0.0 to inf", max_age=float("inf"))
    refused(r"c_delta 1.5; expected 0 \(off\) to 1", c_delta=1.5)
    refused("c_eta -0.5; expected 0", c_eta=-0.5)
    refused("floor 1; expected 0 .none. or a small number below 1", floor=1)
    refused("floor nan; expected", floor=float("nan"))


def test_an_empty_batch(backend: str) -> None:
    with use_backend(backend):
        age = age_of(np.ones((0, 5)), np.ones((0, 5)), np.ones((0, 2)), stages=(2, 3))
    assert age.shape == (0,)
