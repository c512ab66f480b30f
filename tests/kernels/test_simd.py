"""The register type by itself: every primitive against NumPy, lane by lane."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

simd = pytest.importorskip("minissr.kernels.simd", reason="needs Numba")
from minissr.kernels.jit import njit  # noqa: E402

LANES = simd.LANES
RNG = np.random.default_rng(0)


def numbers(count: int) -> np.ndarray:
    return RNG.standard_normal(count).astype(np.float32)


@njit
def arithmetic(a, b, c, out):
    x, y, z = simd.load(a, 0), simd.load(b, 1), simd.load(c, 0)
    n = simd.LANES
    simd.store(out, 0, simd.add(x, y))
    simd.store(out, n, simd.subtract(x, y))
    simd.store(out, 2 * n, simd.multiply(x, y))
    simd.store(out, 3 * n, simd.divide(x, y))
    simd.store(out, 4 * n, simd.maximum(x, y))
    simd.store(out, 5 * n, simd.minimum(x, y))
    simd.store(out, 6 * n, simd.fma(x, y, z))
    simd.store(out, 7 * n, simd.select(simd.greater(x, y), z, simd.zeros()))
    simd.store(out, 8 * n, simd.broadcast(a, 3))
    simd.store(out, 9 * n, simd.splat(np.float32(2.5)))
    return simd.sum_lanes(x)


def test_arithmetic():
    a, b, c = numbers(LANES), numbers(LANES + 1), numbers(LANES)
    out = np.empty((10, LANES), np.float32)
    total = arithmetic(a, b, c, out)
    y = b[1:]  # loads need no alignment
    expected = [a + y, a - y, a * y, a / y, np.maximum(a, y), np.minimum(a, y)]
    expected += [a * y + c, np.where(a > y, c, 0), np.full(LANES, a[3]), np.full(LANES, 2.5)]
    np.testing.assert_allclose(out, np.array(expected, np.float32), rtol=1e-6)
    assert total == pytest.approx(a.sum(), rel=1e-5)


@njit
def flags(a, b, pixels, kept, out):
    x, y = simd.load(a, 0), simd.load(b, 0)
    both = simd.either(
        simd.flag(simd.greater(x, y), 4), simd.flag(simd.greater(y, simd.zeros()), 128)
    )
    simd.store_flags(kept, 0, both)
    again = simd.load_flags(kept, 0)
    n = simd.LANES
    simd.store(out, 0, simd.select(simd.flagged(again, 4), x, y))
    simd.store(out, n, simd.select(simd.equal(again, 132), x, y))
    simd.store(out, 2 * n, simd.load_pixels(pixels, 0))
    simd.store_flags(kept, n, simd.choose(simd.greater(x, y), 7, simd.same_flags(9)))


def test_flags_go_to_memory_and_back():
    a, b = numbers(LANES), numbers(LANES)
    pixels = RNG.integers(0, 256, LANES, dtype=np.uint8)
    kept, out = np.zeros(2 * LANES, np.uint8), np.empty((3, LANES), np.float32)
    flags(a, b, pixels, kept, out)
    np.testing.assert_array_equal(kept[:LANES], np.where(a > b, 4, 0) | np.where(b > 0, 128, 0))
    np.testing.assert_array_equal(kept[LANES:], np.where(a > b, 7, 9))
    np.testing.assert_array_equal(out[0], np.where(a > b, a, b))
    np.testing.assert_array_equal(out[1], np.where((a > b) & (b > 0), a, b))
    np.testing.assert_array_equal(out[2], pixels)


@njit
def tanh_all(x, y):
    for i in range(0, len(x), simd.LANES):
        simd.store(y, i, simd.tanh(simd.load(x, i)))


def test_tanh_is_good_to_four_units_in_the_last_place():
    inside = np.linspace(-12, 12, 64 * 1024, dtype=np.float32)
    special = np.zeros(16, np.float32)
    special[:6] = [0, -0.0, np.inf, -np.inf, 1e-30, -1e-3]
    x = np.concatenate([inside, special])
    y = np.empty_like(x)
    tanh_all(x, y)
    exact = np.tanh(x.astype(np.float64))
    assert np.all(np.abs(y - exact) <= 4 * np.spacing(np.abs(exact).astype(np.float32)))
    assert y[-16:][2] <= 1
    assert np.abs(y).max() <= 1 + 4 * np.finfo(np.float32).eps


@njit
def tiles(x, w, places_out, out):
    sums = simd.registers(3, 2)
    for k in range(5):
        sums = simd.outer(sums, x, (0, 7, 20), k, w, k * 2 * simd.LANES)
    simd.store_tile(out, simd.run(0, 2 * simd.LANES, 3), sums)
    back = simd.load_tile(out, simd.run(0, 2 * simd.LANES, 3), 2)
    simd.store_tile(out, simd.run(6 * simd.LANES, 2 * simd.LANES, 3), back)
    wrapped = simd.wrapped_run(100, 1, 3, 10, 50, 6)
    for i, place in enumerate(wrapped):
        places_out[i] = place


def test_outer_adds_an_outer_product_to_a_tile():
    x, w = numbers(40), numbers(5 * 2 * LANES)
    out, places = np.empty((2, 3, 2 * LANES), np.float32), np.empty(6, np.int64)
    tiles(x, w, places, out)
    left = np.stack([x[start : start + 5] for start in (0, 7, 20)])  # (3, 5)
    expected = left.astype(np.float64) @ w.reshape(5, -1)
    np.testing.assert_allclose(out[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(out[0], out[1])
    # Column 1 of 3, ten numbers a pixel, fifty a row.
    np.testing.assert_array_equal(places, [100, 110, 140, 150, 160, 190])


@pytest.mark.parametrize(("processor", "lanes"), [("haswell", "8"), ("nehalem", "4")])
def test_width_follows_the_processor(processor: str, lanes: str):
    code = "from minissr.kernels import simd; print(simd.LANES)"
    environment = {**os.environ, "NUMBA_CPU_NAME": processor}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == lanes
