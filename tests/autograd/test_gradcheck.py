"""The checker checked: what it must catch, what it must let pass, what it must not mistake."""

from __future__ import annotations

import numpy as np
import pytest

from minissr import Tensor, gradcheck, ops, use_backend
from minissr.autograd.function import Context, Function
from minissr.autograd.gradcheck import GradientError, KinkError

MODES = ("direction", "inputs", "elements")


class Cube(Function):
    """y = x^3, with a gradient that is off by a factor, or in one element."""

    @staticmethod
    def forward(ctx: Context, x, *, factor: float = 1.0, spoil: tuple[int, ...] | None = None):
        ctx.save(x, factor, spoil)
        return x**3

    @staticmethod
    def backward(ctx: Context, g):
        x, factor, spoil = ctx.saved
        gx = factor * g * 3 * x**2
        if spoil is not None:
            gx[spoil] *= 1.001
        return gx


def cube(x: Tensor, **settings) -> Tensor:
    return Cube.apply(x, **settings)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 2, (3, 4))


@pytest.mark.parametrize("mode", MODES)
def test_a_right_gradient_passes(mode: str, x: np.ndarray) -> None:
    report = gradcheck(cube, [x], mode=mode)
    assert report.worst.error < 1e-8
    assert report.comparisons == (x.size if mode == "elements" else 1)
    assert "slopes agree" in str(report)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0, 0.0])
def test_a_thousandth_fails(mode: str, factor: float, x: np.ndarray) -> None:
    with pytest.raises(GradientError, match="wrong gradient") as caught:
        gradcheck(cube, [x], settings={"factor": factor}, mode=mode)
    assert not isinstance(caught.value, KinkError)


def test_the_worst_element_is_named_with_both_numbers(x: np.ndarray) -> None:
    with pytest.raises(GradientError, match=r"1 of 12 slopes .*worst x\[1, 2\]: backward (\S+), "):
        gradcheck(cube, [x], settings={"spoil": (1, 2)}, mode="elements")


def test_the_error_is_relative_to_the_gradient_s_norm() -> None:
    with pytest.raises(GradientError, match=r"error 9\.99e-04 of the gradient's norm"):
        gradcheck(cube, [np.array(20.0)], settings={"factor": 1.001}, mode="elements")


def test_a_direction_nearly_always_sees_one_wrong_element(x: np.ndarray) -> None:
    caught = 0
    for seed in range(20):
        try:
            gradcheck(cube, [x], settings={"spoil": (1, 2)}, seed=seed)
        except GradientError:
            caught += 1
    assert caught >= 18  # the rest are directions almost at right angles to it


def test_a_small_gradient_beside_a_large_one() -> None:
    """Over all inputs together the error of the small one is below the tolerance."""

    def lopsided(a: Tensor, b: Tensor) -> Tensor:
        return cube(a, factor=1.001) * 1e-4 + cube(b)

    inputs = [np.ones(3), np.full(3, 2.0)]
    gradcheck(lopsided, inputs)
    with pytest.raises(GradientError, match="a direction over a: "):
        gradcheck(lopsided, inputs, mode="inputs")


def test_nan_is_wrong() -> None:
    with pytest.raises(GradientError), np.errstate(invalid="ignore"):
        gradcheck(ops.log, [np.array([-1.0, 1.0])])


def test_a_forgotten_dependence_is_wrong() -> None:
    with pytest.raises(GradientError, match="backward 0, finite difference"):
        gradcheck(
            lambda x, y: y + 0.0 * x + Tensor(x.data), [np.ones(2), np.ones(2)], mode="inputs"
        )


def test_a_gradient_that_is_rightly_zero_passes() -> None:
    """The mean over a batch takes every shift away again: nothing but rounding is left."""
    inputs = [np.random.default_rng(0).standard_normal((5, 3)), np.ones(3)]
    report = gradcheck(lambda x, shift: x + shift - (x + shift).mean(axis=0), inputs, mode="inputs")
    assert report.comparisons == 2


# ---- kinks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [0.0, 1e-6, 10 / 3 * 1e-6, 5e-6, -2.5e-6, 9e-6])
def test_a_kink_is_not_called_a_wrong_gradient(mode: str, at: float) -> None:
    with pytest.raises(KinkError, match=r"relu has a kink within a step of 1e-05 .* along .*x"):
        gradcheck(ops.relu, [np.array([at])], mode=mode)


def test_elements_at_a_kink_can_be_left_out_and_are_counted() -> None:
    report = gradcheck(ops.relu, [np.array([0.0, 1.0, -1.0])], mode="elements", allow_kinks=True)
    assert report.comparisons == 2
    assert report.kinks == ("x[0]",)
    assert "1 at a kink left out" in str(report)


def test_allowed_kinks_hide_no_error() -> None:
    def crooked(x: Tensor) -> Tensor:
        return ops.relu(x) + cube(x, factor=1.001)

    with pytest.raises(GradientError, match="wrong gradient, 2 of 2"):
        gradcheck(crooked, [np.array([0.0, 1.0, -1.0])], mode="elements", allow_kinks=True)


def test_an_error_outranks_a_kink() -> None:
    def crooked(x: Tensor) -> Tensor:
        return ops.relu(x) + cube(x, factor=1.001)

    with pytest.raises(GradientError, match="wrong gradient") as caught:
        gradcheck(crooked, [np.array([1.0, 0.0])], mode="elements")
    assert not isinstance(caught.value, KinkError)


def test_nothing_but_kinks_is_no_success() -> None:
    with pytest.raises(KinkError, match="nothing was compared"):
        gradcheck(ops.relu, [np.zeros(3)], mode="elements", allow_kinks=True)


def test_a_direction_across_a_kink_is_drawn_again() -> None:
    """Two kinks half a step away: directions that lean along either cross, others don't."""
    x = np.concatenate([np.full(2, 3e-6), np.linspace(1, 2, 30)])
    kinks = [len(gradcheck(ops.relu, [x], seed=seed).kinks) for seed in range(10)]
    assert max(kinks) > 0


def test_curvature_is_not_a_kink() -> None:
    """1/x near its pole: a wrong gradient there is still called wrong."""
    with pytest.raises(GradientError, match="wrong gradient"):
        gradcheck(lambda x: 1.0 / x + cube(x, factor=1e4), [np.array([0.05, 0.08])])


# ---- what can be checked ----------------------------------------------------------------------


def test_several_outputs_and_things_that_are_none() -> None:
    def several(x: Tensor) -> tuple:
        return x * 2.0, ops.tanh(x), np.zeros(3), "mean"

    report = gradcheck(several, [np.linspace(-1, 1, 5)], mode="elements")
    assert report.comparisons == 5


def test_an_error_in_the_second_output_is_seen(x: np.ndarray) -> None:
    with pytest.raises(GradientError):
        gradcheck(lambda x: (x * 2.0, cube(x, factor=1.001)), [x])


def test_constants_are_left_alone() -> None:
    """Integers, None, and tensors that require no gradient."""

    def pick(x: Tensor, rows: Tensor, nothing: None, scale: Tensor) -> Tensor:
        assert nothing is None
        assert rows.dtype.kind == "i"
        return x[rows.data] * scale

    scale = Tensor(np.array([2.0]))
    report = gradcheck(pick, [np.ones(3), np.array([2, 0]), None, scale], mode="elements")
    assert report.comparisons == 3
    assert scale.grad is None


def test_parameters_are_put_back(x: np.ndarray) -> None:
    """As a model's: the function reads the tensor by itself, and grad is the user's."""
    w = Tensor(x, requires_grad=True, name="layer.w")
    w.grad = grad = np.full_like(x, 7)
    report = gradcheck(lambda *_: cube(w), [w], mode="elements")
    assert report.worst.where.startswith("layer.w[")
    assert w.data is x
    assert w.grad is grad
    with pytest.raises(GradientError):
        gradcheck(lambda *_: cube(w, factor=1.001), [w])
    assert w.data is x
    assert w.grad is grad


def test_float32_is_refused_and_told_what_to_do(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needs float64, but x is float32"):
        gradcheck(cube, [Tensor(x.astype(np.float32), requires_grad=True)])


def test_nothing_to_check() -> None:
    with pytest.raises(ValueError, match="nothing to check"):
        gradcheck(cube, [np.arange(3)])
    with pytest.raises(ValueError, match="returned no tensor that depends"):
        gradcheck(lambda x: Tensor(np.ones(2)), [np.ones(2)])
    with pytest.raises(ValueError, match="mode 'each' is none of direction"):
        gradcheck(cube, [np.ones(2)], mode="each")


def test_a_function_that_draws_anew_is_found_out(x: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="two results for the same inputs"):
        gradcheck(lambda x: ops.dropout(x, 0.5, rng), [x])
    gradcheck(lambda x: ops.dropout(x, 0.5, np.random.default_rng(0)), [x])


def test_the_same_seed_checks_the_same_direction(x: np.ndarray) -> None:
    first, again, other = (gradcheck(cube, [x], seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.worst.analytic != other.worst.analytic


def test_fortran_order_and_scalars(x: np.ndarray) -> None:
    with use_backend("numpy"):
        gradcheck(cube, [np.asfortranarray(x)], mode="elements")
        gradcheck(cube, [np.array(1.5)], mode="elements")
