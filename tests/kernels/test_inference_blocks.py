"""The blocks of inference: the same numbers as convolution, activation and pooling one by one.

On integers, or integers over 256, nothing is rounded, so "the same" is meant to the last bit.
(Weights for Winograd's convolution are multiples of 4, as G halves twice.)
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.kernels.conv2d import numpy_ref as conv2d

pytest.importorskip("numba", reason="needs Numba")
from minissr.kernels.inference import stem, winograd
from minissr.kernels.inference.numba_simd import BLOCK, STREAMS, S, X
from minissr.kernels.simd import LANES

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
TANH = 3e-7  # how exact ours is
SEEDS = st.integers(0, 2**32 - 1)


def plain(x: np.ndarray, w: np.ndarray, bias: np.ndarray, size: int, stream: int) -> np.ndarray:
    """The pooled block (size, size, CO) of x (H, W, C), in float64."""
    h = conv2d.conv2d_forward(x[None], w.astype(float), bias, (1, 1), (0, 0, 0, 0), 1)
    windows = h[0, : 2 * size, : 2 * size].reshape(size, 2, size, 2, -1)
    if stream == S:
        return np.tanh(windows.max(axis=(1, 3)))
    return np.maximum(windows, 0).mean(axis=(1, 3))


@given(SEEDS)
def test_winograds_formula_is_a_convolution(seed: int) -> None:
    """Y = A ((G g G') * (B d B')) A', as the module's head has it."""
    rng = np.random.default_rng(seed)
    d, g = rng.integers(-9, 10, (4, 4)), 4 * rng.integers(-9, 10, (3, 3))
    y = A @ ((winograd.G @ g @ winograd.G.T) * (B @ d @ B.T)) @ A.T
    by_hand = [[(d[i : i + 3, j : j + 3] * g).sum() for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(y, by_hand)


@given(
    SEEDS,
    st.sampled_from(STREAMS),
    st.integers(1, 7),
    st.integers(0, 2),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_a_block_by_winograd(
    seed: int, stream: int, size: int, more: int, inputs: int, outputs: int
) -> None:
    """Whatever the sizes, the channels, and the columns that nobody reads, in one tile or more;
    all rows, and a part of them from other scratch."""
    rng = np.random.default_rng(seed)
    c, co, width = inputs * LANES, outputs * LANES, 2 * size + 2 + more
    x = rng.integers(-3, 4, (2 * size + 2, width, c)) / 256
    w, bias = 4 * rng.integers(-2, 3, (3, 3, c, co)), rng.integers(-99, 100, co) / 256

    transformed, starts = winograd.transformed(w, bias)
    numbers = np.concatenate([transformed.reshape(-1), starts.reshape(-1)]).astype(np.float32)
    maps = np.full(x.size + size * size * co, np.nan, np.float32)
    maps[: x.size] = x.reshape(-1)
    work = np.full(winograd.room(c, co), np.nan, np.float32)
    (block,) = np.array([(0, width, c, 0, transformed.size, co, x.size, size, True, 0)], BLOCK)
    winograd.pooling_rows(block, stream, numbers, maps, work, 0, size)
    seen = maps[x.size :].reshape(size, size, co)
    expected = plain(x, w, bias, size, stream)
    np.testing.assert_allclose(seen, expected, rtol=0, atol=TANH if stream == S else 0)

    whole, (first, last) = seen.copy(), sorted(rng.integers(0, size + 1, 2))
    seen[...] = np.nan
    winograd.pooling_rows(block, stream, numbers, maps, np.zeros_like(work), first, last)
    np.testing.assert_array_equal(seen[first:last], whole[first:last])
    assert np.isnan(seen[:first]).all()
    assert np.isnan(seen[last:]).all()
    np.testing.assert_array_equal(maps[: x.size], x.reshape(-1))


@given(SEEDS, st.integers(2, 7), st.integers(0, 2), st.integers(1, 3), st.integers(1, 3))
def test_the_first_block_of_both_streams(
    seed: int, size: int, more: int, x_registers: int, s_registers: int
) -> None:
    """Whatever the sizes and the filters, whole tiles or not; all rows, and a part of them."""
    rng = np.random.default_rng(seed)
    split, co = x_registers * LANES, (x_registers + s_registers) * LANES
    width = 2 * size + 2 + more
    pixels = rng.integers(-128, 128, (2 * size + 2, width, 3)).astype(float)
    w, bias = rng.integers(-9, 10, (3, 3, 3, co)) / 4096, rng.integers(-99, 100, co) / 4096

    numbers = np.concatenate([w.reshape(-1), bias]).astype(np.float32)
    cells = size * size
    maps = np.full(pixels.size + cells * co, np.nan, np.float32)
    maps[: pixels.size] = pixels.reshape(-1)
    shared = (0, width, 3, 0, w.size)
    s_at = pixels.size + cells * split
    blocks = np.array(
        [
            (*shared, split, pixels.size, size, True, 0),
            (*shared, co - split, s_at, size, True, 0),
        ],
        BLOCK,
    )
    stem.pooling_rows(*blocks, numbers, maps, 0, size)
    seen_x = maps[pixels.size : s_at].reshape(size, size, split)
    seen_s = maps[s_at:].reshape(size, size, co - split)
    np.testing.assert_array_equal(seen_x, plain(pixels, w[..., :split], bias[:split], size, X))
    expected = plain(pixels, w[..., split:], bias[split:], size, S)
    np.testing.assert_allclose(seen_s, expected, rtol=0, atol=TANH)

    whole, (first, last) = (seen_x.copy(), seen_s.copy()), sorted(rng.integers(0, size + 1, 2))
    maps[pixels.size :] = np.nan
    stem.pooling_rows(*blocks, numbers, maps, first, last)
    for seen, before in zip((seen_x, seen_s), whole, strict=True):
        np.testing.assert_array_equal(seen[first:last], before[first:last])
        assert np.isnan(seen[:first]).all()
        assert np.isnan(seen[last:]).all()
