"""The walk back: right sums, any depth, errors that say what to do."""

from __future__ import annotations

import sys
import threading
import types

import numpy as np
import pytest

from minissr import Tensor, no_grad, use_backend
from minissr.autograd.function import Context, Function
from minissr.errors import BackendMismatch
from minissr.ops.basic import Add, Multiply


def leaf(*values: float, dtype: str = "float64") -> Tensor:
    return Tensor(np.array(values, dtype), requires_grad=True)


# ---- sums of paths ----------------------------------------------------------------------------


def test_a_square_is_a_product_with_itself() -> None:
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad == 6


def test_diamond() -> None:
    """y = x^2, z = 3y + y^2: dz/dx = (3 + 2y) 2x, and y's gradient must be whole before x's."""
    x = leaf(2.0)
    y = x * x
    (3.0 * y + y * y).backward()
    assert x.grad == (3 + 2 * 4) * 4


def test_a_diamond_whose_sides_differ_in_depth() -> None:
    x = leaf(2.0)
    y = x * 1.0
    long = y
    for _ in range(10):
        long = long * 1.0
    (y * long).backward()
    assert x.grad == 4


def test_reuse_in_many_places_adds_up() -> None:
    x = leaf(1.0, 2.0)
    total = x * 0.0
    for k in range(5):
        total = total + float(k) * x
    total.sum().backward()
    np.testing.assert_array_equal(x.grad, [10, 10])


def test_two_backwards_add_up_and_zero_grad_starts_again() -> None:
    x = leaf(3.0)
    (2.0 * x).backward()
    (5.0 * x).backward()
    assert x.grad == 7
    x.zero_grad()
    (5.0 * x).backward()
    assert x.grad == 5


@pytest.mark.parametrize("depth", [20_000])
def test_depth_is_no_limit(depth: int) -> None:
    assert depth > 10 * sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(depth):
        y = y + x
    y.backward()
    assert x.grad == depth + 1


def test_a_deep_graph_can_be_dropped_unwalked() -> None:
    y = leaf(1.0)
    for _ in range(50_000):
        y = y + 1.0
    del y  # a crash here would be the interpreter's own recursion


def test_gradients_of_leaves_never_share_memory() -> None:
    """Add hands one array to both inputs; clipping one gradient in place must spare the other."""
    a, b = leaf(1.0), leaf(1.0)
    start = np.ones(1)
    (a + b).backward(start)
    a.grad *= 5
    assert b.grad == 1
    assert start == 1


def test_an_inner_tensor_keeps_its_gradient_on_request() -> None:
    x = leaf(3.0)
    inner, other = (x * x).retain_grad(), x * 2.0
    (inner * other).backward()
    assert inner.grad == 6
    assert other.grad is None


def test_unneeded_sides_get_no_gradient() -> None:
    x, constant = leaf(1.0), Tensor(np.ones(1))
    (x * constant).backward()
    assert constant.grad is None


class Halves(Function):
    """(x / 2, x / 3): two outputs, of which a caller may use only one."""

    @staticmethod
    def forward(ctx: Context, x):
        return x / 2, x / 3

    @staticmethod
    def backward(ctx: Context, g_half, g_third):
        halves = 0 if g_half is None else g_half / 2
        thirds = 0 if g_third is None else g_third / 3
        return halves + thirds


def test_several_outputs_and_an_unused_one() -> None:
    x = leaf(6.0)
    half, third = Halves.apply(x)
    (half * third).backward()
    assert x.grad == pytest.approx(6 / 3 / 2 + 6 / 2 / 3)
    x.zero_grad()
    Halves.apply(x)[1].backward()
    assert x.grad == pytest.approx(1 / 3)


# ---- the graph's end --------------------------------------------------------------------------


def test_a_second_walk_needs_retain_graph() -> None:
    x = leaf(3.0)
    y = -(x * x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad == -12
    with pytest.raises(RuntimeError, match=r"Negate was already freed.*retain_graph=True"):
        y.backward()


def test_no_history_no_backward() -> None:
    with pytest.raises(RuntimeError, match="does not depend on anything that requires a gradient"):
        (Tensor(np.ones(1)) * 2.0).backward()


def test_a_starting_gradient_must_fit() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\) needs a gradient"):
        (x * 1.0).backward()
    with pytest.raises(ValueError, match=r"shape \(3,\).*expected \(2,\)"):
        (x * 1.0).backward(np.ones(3))
    with pytest.raises(ValueError, match=r"float32; expected .* float64"):
        (x * 1.0).backward(np.ones(2, np.float32))


def wrong(result) -> type[Function]:
    class Crooked(Function):
        @staticmethod
        def forward(ctx: Context, x):
            return x * 1.0

        @staticmethod
        def backward(ctx: Context, g):
            return result(g)

    return Crooked


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda g: g[:1], r"Crooked.backward returned a gradient of shape \(1,\)"),
        (lambda g: g.astype(np.float32), "Crooked.backward .* dtype float32 .* dtype float64"),
        (lambda g: (g, g), "Crooked.backward returned 2 gradients for 1 inputs"),
        (lambda g: None, "Crooked.backward returned no gradient for input 0"),
    ],
    ids=["shape", "dtype", "count", "none"],
)
def test_a_wrong_backward_is_named(result, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        wrong(result).apply(leaf(1.0, 2.0)).sum().backward()


# ---- no_grad ----------------------------------------------------------------------------------


def test_no_grad_leaves_no_graph() -> None:
    x = leaf(1.0)
    with no_grad():
        y = x * 2.0
    assert y.creator is None
    assert not y.requires_grad
    assert (x * 2.0).requires_grad


def test_no_grad_ends_with_an_exception_and_nests() -> None:
    x = leaf(1.0)
    with no_grad():
        with no_grad():
            pass
        assert not (x * 1.0).requires_grad
    with pytest.raises(ValueError, match="broadcast"), no_grad():
        x + np.ones((2, 3)) + np.ones((4, 5))
    assert (x * 1.0).requires_grad


def test_no_grad_holds_for_its_thread_alone() -> None:
    x, seen = leaf(1.0), {}

    def record() -> None:
        seen["other"] = (x * 1.0).requires_grad

    with no_grad():
        thread = threading.Thread(target=record)
        thread.start()
        thread.join()
        seen["here"] = (x * 1.0).requires_grad
    assert seen == {"other": True, "here": False}


def test_threads_build_and_walk_their_own_graphs() -> None:
    results: dict[int, float] = {}

    def work(k: int) -> None:
        x = leaf(float(k))
        y = x
        for _ in range(300):
            y = y + x
        y.backward()
        results[k] = float(x.grad[0])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), 301.0)


# ---- what may meet in an op -------------------------------------------------------------------


def test_two_float_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Add got float32 and float64; convert one side"):
        leaf(1.0, dtype="float32") + leaf(1.0)


def test_pixels_are_refused_where_floats_are_needed() -> None:
    with pytest.raises(TypeError, match=r"Multiply works on floats, got uint8; use .astype"):
        Tensor(np.zeros(3, np.uint8)) * 2.0
    with pytest.raises(TypeError, match="only float tensors can require a gradient, not uint8"):
        Tensor(np.zeros(3, np.uint8), requires_grad=True)


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_adopt_the_tensors_dtype(number, dtype: str) -> None:
    x = leaf(3.0, dtype=dtype)
    for y in (x * number, number * x, x - number, number - x, number / x, x / number, number + x):
        assert isinstance(y, Tensor)
        assert y.dtype == dtype
    (number * x).backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("exponent", [2, 2.0, np.float64(2), np.int64(2)])
def test_a_power_of_any_number_keeps_the_dtype(exponent) -> None:
    x = leaf(3.0, dtype="float32")
    (x**exponent).backward()
    assert x.grad == 6
    assert x.grad.dtype == np.float32


def test_an_axis_may_be_numpys_number() -> None:
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    x.sum(axis=np.int64(1)).backward(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(x.grad, [[1, 1, 1], [2, 2, 2]])


def test_whole_numbers_are_no_dtype_to_cast_to() -> None:
    with pytest.raises(TypeError, match=r"astype\(int32\): expected a float dtype"):
        leaf(1.5).astype("int32")


def test_an_array_beside_a_tensor_is_a_constant() -> None:
    x = leaf(3.0, 4.0)
    y = np.array([1.0, 2.0]) * x @ np.array([1.0, 1.0])
    assert isinstance(y, Tensor)
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 2])


def test_an_op_needs_a_tensor() -> None:
    with pytest.raises(TypeError, match=r"Add needs at least one Tensor"):
        Add.apply(1.0, 2.0)


@pytest.fixture
def other_arrays(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A second array module, as cupy is one, that shares no memory with NumPy."""
    module = types.ModuleType("elsewhere")

    class ndarray:  # noqa: N801 - what array modules call it
        def __init__(self, data: np.ndarray) -> None:
            self.data, self.dtype, self.shape, self.flags = data, data.dtype, data.shape, data.flags

    ndarray.__module__ = "elsewhere"
    module.ndarray = ndarray
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    return module


def test_arrays_of_two_homes_are_refused(other_arrays: types.ModuleType) -> None:
    here, there = leaf(1.0), Tensor(other_arrays.ndarray(np.ones(1)))
    with pytest.raises(
        BackendMismatch, match=r"Multiply got arrays of elsewhere and numpy.*\.to\("
    ):
        Multiply.apply(here, there)


def test_unknown_backend() -> None:
    with (
        pytest.raises(ValueError, match="backend 'cuda' is none of auto, numpy, numba"),
        use_backend("cuda"),
    ):
        pass


# ---- the surface ------------------------------------------------------------------------------


def test_methods_and_operators_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.5, 2, (3, 4)), rng.uniform(0.5, 2, (3, 4))
    x, y = Tensor(a), Tensor(b)
    for got, expected in [
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (-x, -a), (x**3, a**3),
        (x @ y.transpose(), a @ b.T), (x[1:, ::2], a[1:, ::2]), (x.sum(axis=0), a.sum(axis=0)),
        (x.mean(axis=-1, keepdims=True), a.mean(axis=-1, keepdims=True)), (x.exp(), np.exp(a)),
        (x.log(), np.log(a)), ((-x).abs(), a), (x.clip(1.0, None), a.clip(1.0)),
        (x.reshape(2, 6), a.reshape(2, 6)), (x.transpose(1, 0), a.T), (x.sum(), a.sum()),
        (a @ y.transpose(), a @ b.T),
    ]:  # fmt: skip
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14)
        assert got.shape == expected.shape
    assert x.astype("float32").dtype == np.float32
    assert (len(x), x.ndim, x.size) == (3, 2, 12)


def test_a_tensor_from_numbers_is_float32_and_a_tensor_is_not_wrapped_twice() -> None:
    assert Tensor([1, 2]).dtype == np.float32
    assert Tensor(np.float64(1)).dtype == np.float64
    assert Tensor(2.5).item() == 2.5
    with pytest.raises(TypeError, match="is a Tensor already"):
        Tensor(Tensor([1.0]))


def test_repr_names_origin() -> None:
    x = Tensor([1.0], requires_grad=True, name="width")
    assert "name='width'" in repr(x)
    assert "from Multiply" in repr(x * 2.0)
    assert x.detach().creator is None
    assert x.to("numpy").requires_grad
