"""The fused kernels against the same thing composed of NumPy kernels in float64, at any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

simd = pytest.importorskip("minissr.kernels.simd", reason="needs Numba")
from minissr.kernels import lookup  # noqa: E402
from minissr.kernels.block import numba_simd as block_simd  # noqa: E402
from minissr.kernels.fusion import numba_simd as fusion_simd  # noqa: E402
from minissr.kernels.stem import numba_simd as stem_simd  # noqa: E402
from minissr.kernels.stem.composed import STREAMS  # noqa: E402
from tests.kernels.kinks import block_is_sure, fusion_is_sure  # noqa: E402

WIDE = 16  # a multiple of every register width
EPS = 1e-3


def float32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def exact(*arrays: np.ndarray) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Relative to the largest value, as rounding in sums is."""
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


@given(
    n=st.integers(1, 4),
    out=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.sampled_from([3, WIDE, 2 * WIDE]),
    filters=st.sampled_from([WIDE, 2 * WIDE, 3 * WIDE]),
    activation=st.sampled_from(["relu", "tanh"]),
    pool=st.sampled_from(["avg", "max", "none"]),
    need_gx=st.booleans(),
    seed=st.integers(0, 999),
)
@example(70, (2, 3), (3, 3), WIDE, WIDE, "tanh", "max", True, 0)  # two images a chunk
def test_block(n, out, window, channels, filters, activation, pool, need_gx, seed):
    rng = np.random.default_rng(seed)
    (oh, ow), (kh, kw) = out, window
    x = float32(rng, n, oh + kh - 1, ow + kw - 1, channels)
    w = float32(rng, kh, kw, channels, filters) / np.float32(kh * kw * channels) ** 0.5
    bias, gamma, beta = (float32(rng, filters) for _ in range(3))
    settings = (EPS, activation, pool)
    assert block_simd.fits(x, w)
    y, mean, var, saved = lookup("block_forward", "numba")(x, w, bias, gamma, beta, *settings)
    numpy_arrays = exact(x, w, bias, gamma, beta)
    expected = lookup("block_forward", "numpy")(*numpy_arrays, *settings)
    for got, right in zip((y, mean, var), expected[:3], strict=True):
        assert_close(got, right)
    normed_by = (*expected[1:3], *numpy_arrays[3:])
    assume(block_is_sure(expected[3][0], normed_by, *settings).all())

    gy = float32(rng, *y.shape)
    grads = lookup("block_backward", "numba")(
        gy, x, w, gamma, beta, *settings, mean, var, saved, need_gx
    )
    _, w64, _, gamma64, beta64 = numpy_arrays
    right = lookup("block_backward", "numpy")(
        *exact(gy, x), w64, gamma64, beta64, *settings, *expected[1:], True
    )
    assert (grads[0] is None) == (not need_gx)
    assert not grads[2].any()  # the bias has no effect
    for i in (0, 1, 3, 4) if need_gx else (1, 3, 4):
        # With few samples batch norm's gradient is the small rest of large terms.
        assert_close(grads[i], right[i], 1e-5 if n * oh * ow > 30 else 1e-4)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
# Fused, fused with a part of a register, composed.
@pytest.mark.parametrize(("channels", "filters"), [(WIDE, WIDE), (5, WIDE), (5, 5)])
def test_block_adds_its_input_gradient_onto_another(
    backend: str, channels: int, filters: int
) -> None:
    rng = np.random.default_rng(0)
    x, w = float32(rng, 3, 7, 8, channels), float32(rng, 3, 3, channels, filters)
    bias, gamma, beta = (float32(rng, filters) for _ in range(3))
    settings = (EPS, "relu", "avg")
    y, mean, var, saved = lookup("block_forward", backend)(x, w, bias, gamma, beta, *settings)
    arguments = (float32(rng, *y.shape), x, w, gamma, beta, *settings, mean, var, saved, True)
    alone, *rest = lookup("block_backward", backend)(*arguments)
    onto = float32(rng, *x.shape)
    before = onto.copy()
    total, *again = lookup("block_backward", backend)(*arguments, onto)
    assert total is onto
    assert_close(total, before + alone)
    for a, b in zip(rest, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_block_of_pixels_is_that_of_the_same_floats(pool: str) -> None:
    rng = np.random.default_rng(0)
    images, w = pixels(rng, 3, 9, 8), float32(rng, 3, 3, 3, WIDE)
    bias, gamma, beta = (float32(rng, WIDE) for _ in range(3))
    assert block_simd.fits(images, w)
    seen = []
    for x in (images, images.astype(np.float32)):
        y, mean, var, saved = lookup("block_forward", "numba")(
            x, w, bias, gamma, beta, EPS, "relu", pool
        )
        grads = lookup("block_backward", "numba")(
            np.ones_like(y), x, w, gamma, beta, EPS, "relu", pool, mean, var, saved, False
        )
        seen.append([y, mean, var, *grads[1:]])
    for of_pixels, of_floats in zip(*seen, strict=True):
        np.testing.assert_array_equal(of_pixels, of_floats)


def test_block_leaves_inputs_alone_and_takes_ties_to_the_first():
    x = np.ones((2, 6, 6, WIDE), np.float32)
    w = np.zeros((3, 3, WIDE, WIDE), np.float32)
    ones = np.ones(WIDE, np.float32)
    before = x.copy()
    y, mean, var, saved = lookup("block_forward", "numba")(
        x, w, ones, ones, ones, EPS, "relu", "max"
    )
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(var, 0)  # z is constant, all four pixels of a window tie
    gy = np.ones_like(y)
    _, gw, _, _, g_beta = lookup("block_backward", "numba")(
        gy, x, w, ones, ones, EPS, "relu", "max", mean, var, saved, True
    )
    np.testing.assert_array_equal(g_beta, y.size / WIDE)  # each window's gradient, once
    assert np.isfinite(gw).all()


def pixels(rng: np.random.Generator, n: int, h: int, w: int) -> np.ndarray:
    """Smooth pictures: neighbouring pixels nearly equal, where moments lose digits most easily."""
    coarse = rng.uniform(0, 255, (n, -(-h // 4), -(-w // 4), 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(coarse[:, :h, :w] + rng.normal(0, 3, (n, h, w, 3)), 0, 255).astype(np.uint8)


@given(
    n=st.integers(1, 4),
    size=st.tuples(st.integers(4, 13), st.integers(4, 13)),
    unit=st.sampled_from([1.0, 1 / 255]),
    offset=st.sampled_from([0.0, -0.5]),
    seed=st.integers(0, 999),
)
@example(66, (5, 6), 1.0, 0.0, 0)  # two images a chunk
def test_stem(n, size, unit, offset, seed):
    rng = np.random.default_rng(seed)
    images = pixels(rng, n, *size)
    parameters: list[np.ndarray] = []
    for filters in (2 * WIDE, WIDE):
        parameters.append(float32(rng, 3, 3, 3, filters) / np.float32(5))
        parameters += [float32(rng, filters) for _ in range(3)]
    assert stem_simd.fits(images, parameters[0], parameters[4])
    # float64 pixels and weights reach the NumPy kernel through the exact arrays.
    forward, backward = lookup("stem_forward", "numba"), lookup("stem_backward", "numba")
    outputs, *statistics, saved = forward(images, unit, offset, EPS, *parameters)
    right = lookup("stem_forward", "numpy")(images, unit, offset, EPS, *exact(*parameters))
    for got, expected in zip(outputs, right[0], strict=True):
        assert_close(got, expected)
    for pair, expected_pair in zip(statistics, right[1:3], strict=True):
        for got, expected in zip(pair, expected_pair, strict=True):
            assert_close(got, expected)

    gys = [float32(rng, *y.shape) for y in outputs]
    grads = backward(*gys, images, unit, offset, saved=saved, eps=EPS)
    expected_grads = lookup("stem_backward", "numpy")(
        *exact(*gys), images, unit, offset, EPS, right[3]
    )
    for k, stream in enumerate(STREAMS):
        _, gamma, beta, mean, var, (conv, *_) = right[3][k]
        # No gradient of one filter depends on another here.
        sure = block_is_sure(conv, (mean, var, gamma, beta), EPS, *stream)
        for got, expected in zip(grads[k], expected_grads[k], strict=True):
            assert_close(got[..., sure], expected[..., sure])


@given(
    n=st.integers(1, 4),
    size=st.tuples(st.integers(3, 10), st.integers(3, 10)),
    channels=st.sampled_from([WIDE, 2 * WIDE]),
    filters=st.integers(1, 18),
    pool=st.sampled_from(["avg", "max"]),
    window=st.integers(1, 3),
    seed=st.integers(0, 999),
)
@example(2, (17, 16), WIDE, 10, "max", 8, 0)
@example(70, (4, 4), WIDE, 10, "avg", 1, 0)
def test_fusion(n, size, channels, filters, pool, window, seed):
    rng = np.random.default_rng(seed)
    x, w = float32(rng, n, *size, channels), float32(rng, 1, 1, channels, filters)
    bias = float32(rng, filters)
    assert fusion_simd.fits(x, window)
    y, saved = lookup("fusion_forward", "numba")(x, w, bias, pool, window)
    expected, kept = lookup("fusion_forward", "numpy")(*exact(x, w, bias), pool, window)
    assert_close(y, expected)
    assume(fusion_is_sure(*exact(x, w, bias), pool, window))
    gy = float32(rng, *y.shape)
    grads = lookup("fusion_backward", "numba")(gy, x, w, pool, window, saved)
    right = lookup("fusion_backward", "numpy")(*exact(gy, x, w), pool, window, kept)
    for got, expected_grad in zip(grads, right, strict=True):
        assert_close(got, expected_grad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_that_fill_no_register_are_composed(dtype):
    """Ten filters of five channels: same answer, from the plain kernels."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 7, 5)).astype(dtype), rng.standard_normal((3, 3, 5, 10))
    w = w.astype(dtype)
    ones = np.ones(10, dtype)
    got = lookup("block_forward", "numba")(x, w, ones, ones, ones, EPS, "relu", "avg")
    right = lookup("block_forward", "numpy")(x, w, ones, ones, ones, EPS, "relu", "avg")
    np.testing.assert_allclose(got[0], right[0], rtol=1e-4, atol=1e-5)
    assert got[0].dtype == dtype
