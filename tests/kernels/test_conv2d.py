"""Convolution: Numba beside NumPy, gradients as transposed maps, PyTorch where installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minissr.kernels import lookup
from tests.kernels.comparing import assert_close, backends_agree, results
from tests.strategies import Convolution, convolutions, image_sides, seeds, sizes

FORWARD, INPUT_GRAD, WEIGHT_GRAD = "conv2d_forward", "conv2d_input_grad", "conv2d_weight_grad"


@given(convolutions())
def test_numba_agrees_with_numpy(case: Convolution) -> None:
    x_shape, w_shape = case.x(np.float32).shape, case.w(np.float32).shape
    backends_agree(FORWARD, lambda t: (case.x(t), case.w(t), case.bias(t), *case.settings))
    backends_agree(INPUT_GRAD, lambda t: (case.gy(t), case.w(t), x_shape, *case.settings))
    backends_agree(WEIGHT_GRAD, lambda t: (case.x(t), case.gy(t), w_shape, *case.settings))


@pytest.mark.parametrize("shape", [(3, 64, 64, 3, 32), (2, 31, 31, 32, 32), (2, 14, 14, 16, 16)])
def test_numba_agrees_on_the_layers_of_the_network(shape: tuple[int, ...]) -> None:
    n, h, w, c, co = shape
    case = Convolution(1, (n, h, w), (3, 3), (1, 1), (0, 0, 0, 0), 1, c, co, True)
    w_shape = (3, 3, c, co)
    backends_agree(FORWARD, lambda t: (case.x(t), case.w(t), case.bias(t), *case.settings))
    backends_agree(INPUT_GRAD, lambda t: (case.gy(t), case.w(t), (n, h, w, c), *case.settings))
    backends_agree(WEIGHT_GRAD, lambda t: (case.x(t), case.gy(t), w_shape, *case.settings))


@st.composite
def register_convolutions(draw: st.DrawFn) -> Convolution:
    """Convolutions with channels that fill registers of any width, or nearly; any size of image."""
    size, channels = draw(sizes), st.sampled_from([16, 32, 48, 12, 17, 4, 36])
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    image = image_sides(draw, size, padding)
    n, c = draw(st.integers(1, 4)), draw(st.one_of(channels, st.integers(1, 20)))
    return Convolution(
        draw(seeds), (n, *image), size, (1, 1), padding, 1, c, draw(channels), draw(st.booleans())
    )


@given(register_convolutions())
@example(Convolution(0, (1, 9, 1), (2, 1), (1, 1), (0, 0, 0, 0), 1, 16, 48, True))  # bands of a row
@example(Convolution(0, (70, 3, 4), (3, 3), (1, 1), (1, 1, 1, 1), 1, 16, 16, True))  # large chunks
def test_registers_and_plain_loops_agree_with_numpy(case: Convolution) -> None:
    """Registers of float32 channels take another way; the loops remain what they are."""
    loops = pytest.importorskip("minissr.kernels.conv2d.numba_loops", reason="needs Numba")
    t = np.float32
    x, w, gy = case.x(t), case.w(t), case.gy(t)
    for kernel, plain, arguments in (
        (FORWARD, loops.forward, (x, w, case.bias(t), *case.settings)),
        (INPUT_GRAD, loops.input_grad, (gy, w, x.shape, *case.settings)),
        (WEIGHT_GRAD, loops.weight_grad, (x, gy, w.shape, *case.settings)),
    ):
        (expected,), (got,) = (
            results(kernel, "numpy", *arguments),
            results(kernel, "numba", *arguments),
        )
        assert_close(got, expected, t, f"{kernel} on registers")
        assert_close(plain(*arguments), expected, t, f"{kernel} in plain loops")


def test_registers_compute_the_layers_of_the_network_and_leave_the_rest() -> None:
    simd = pytest.importorskip("minissr.kernels.conv2d.numba_simd", reason="needs Numba")
    w = np.zeros((3, 3, 5, 32), np.float32)
    assert simd.fits(w, (1, 1), 1)
    assert not simd.fits(w, (1, 2), 1)
    assert not simd.fits(w, (1, 1), 5)
    assert not simd.fits(w.astype(np.float64), (1, 1), 1)
    assert simd.fits(w[..., :31], (1, 1), 1)
    assert simd.fits(w[..., : simd.LANES // 4], (1, 1), 1)
    assert not simd.fits(w[..., : simd.LANES // 4 - 1], (1, 1), 1)


@pytest.mark.parametrize("backend_name", ["numpy", "numba"])
def test_gradients_are_the_adjoints(backend_name: str) -> None:
    """<gy, x * w> = <gx, x> = <gw, w>: y is linear in x and in w."""

    @given(convolutions())
    def adjoint(case: Convolution) -> None:
        x, w, gy = case.x(np.float64), case.w(np.float64), case.gy(np.float64)
        y = lookup(FORWARD, backend_name)(x, w, None, *case.settings)
        gx = lookup(INPUT_GRAD, backend_name)(gy, w, x.shape, *case.settings)
        gw = lookup(WEIGHT_GRAD, backend_name)(x, gy, w.shape, *case.settings)
        size = np.linalg.norm(gy) * np.linalg.norm(y) + 1e-300
        assert abs(np.vdot(gy, y) - np.vdot(gx, x)) <= 1e-13 * max(size, 1)
        assert abs(np.vdot(gy, y) - np.vdot(gw, w)) <= 1e-13 * max(size, 1)

    adjoint()


def test_a_stride_beyond_the_kernel_leaves_zeros(backend: str) -> None:
    gy, w = np.ones((1, 2, 2, 1)), np.ones((1, 2, 1, 1))
    gx = lookup(INPUT_GRAD, backend)(gy, w, (1, 4, 7, 1), (3, 4), (0, 0, 0, 0), 1)
    seen = np.zeros((4, 7))
    seen[np.ix_([0, 3], [0, 1, 4, 5])] = 1
    np.testing.assert_array_equal(gx[0, :, :, 0], seen)


def test_infinities_stay_where_they_are(backend: str) -> None:
    """A NaN in one pixel reaches the outputs of its own windows and no other."""
    x, w = np.ones((1, 5, 6, 3)), np.ones((2, 3, 3, 5))
    x[0, 0, 0, 1] = np.nan
    y = lookup(FORWARD, backend)(x, w, None, (1, 1), (0, 0, 0, 0), 1)
    assert np.isnan(y[0, 0, 0]).all()
    assert np.isfinite(y).sum() == y.size - 5


def test_an_empty_batch_gives_empty_results_and_no_weight_gradient(backend: str) -> None:
    for groups in (1, 2, 4):  # the last is depthwise
        x, w = np.zeros((0, 7, 5, 4)), np.ones((3, 2, 4 // groups, 4))
        settings = ((2, 1), (1, 0, 0, 1), groups)
        y = lookup(FORWARD, backend)(x, w, np.ones(4), *settings)
        assert y.shape == (0, 3, 5, 4)
        assert lookup(INPUT_GRAD, backend)(y, w, x.shape, *settings).shape == x.shape
        np.testing.assert_array_equal(
            lookup(WEIGHT_GRAD, backend)(x, y, w.shape, *settings), np.zeros(w.shape)
        )


@given(convolutions())
def test_numpy_agrees_with_pytorch(case: Convolution) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    top, bottom, left, right = case.padding
    x = torch.tensor(case.x(np.float64), requires_grad=True)
    w = torch.tensor(case.w(np.float64), requires_grad=True)
    bias = case.bias(np.float64)
    y = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom)),
        w.permute(3, 2, 0, 1).contiguous(),
        None if bias is None else torch.tensor(bias),
        case.stride,
        groups=case.groups,
    ).permute(0, 2, 3, 1)
    gy = case.gy(np.float64)
    y.backward(torch.tensor(gy))

    arrays = case.x(np.float64), case.w(np.float64)
    ours = lookup(FORWARD, "numpy")(*arrays, bias, *case.settings)
    gx = lookup(INPUT_GRAD, "numpy")(gy, arrays[1], arrays[0].shape, *case.settings)
    gw = lookup(WEIGHT_GRAD, "numpy")(arrays[0], gy, arrays[1].shape, *case.settings)
    for got, theirs in ((ours, y.detach()), (gx, x.grad), (gw, w.grad)):
        assert_close(got, theirs.numpy(), np.float64)
