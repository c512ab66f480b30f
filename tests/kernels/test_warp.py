"""Affine warp: exact where it can be, the same bytes from every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.kernels import lookup

INTERPOLATIONS = ("nearest", "bilinear")
KERNELS = st.tuples(st.sampled_from(("numpy", "numba")), st.sampled_from(INTERPOLATIONS))
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.integers(1, 4))
SEEDS = st.integers(0, 2**32 - 1)


def images_of(shape, seed):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def matrices_of(n, a=1.0, b=0.0, t=0.0, d=0.0, e=1.0, u=0.0):
    return np.tile(np.array([[a, b, t], [d, e, u]], np.float64), (n, 1, 1))


def warp(kernel, images, matrices):
    backend, interpolation = kernel
    before = images.copy()
    out = lookup("warp_affine", backend)(images, matrices, interpolation)
    assert out.dtype == np.uint8
    assert out.shape == images.shape
    assert not np.shares_memory(out, images)
    np.testing.assert_array_equal(images, before)
    return out


@given(kernel=KERNELS, shape=SHAPES, seed=SEEDS)
def test_identity(kernel, shape, seed):
    images = images_of(shape, seed)
    np.testing.assert_array_equal(warp(kernel, images, matrices_of(len(images))), images)


@given(kernel=KERNELS, shape=SHAPES, seed=SEEDS)
def test_a_flip_is_a_flip_and_two_are_none(kernel, shape, seed):
    images = images_of(shape, seed)
    flip = matrices_of(len(images), e=-1.0, u=shape[2] - 1.0)
    once = warp(kernel, images, flip)
    np.testing.assert_array_equal(once, images[:, :, ::-1])
    np.testing.assert_array_equal(warp(kernel, once, flip), images)


@given(kernel=KERNELS, shape=SHAPES, seed=SEEDS, by=st.tuples(*[st.integers(-25, 25)] * 2))
def test_a_whole_shift_is_slicing_with_the_edge_repeated(kernel, shape, seed, by):
    images = images_of(shape, seed)
    _, H, W, _ = shape
    padded = np.pad(images, ((0, 0), (25, 25), (25, 25), (0, 0)), mode="edge")
    expected = padded[:, 25 + by[0] : 25 + by[0] + H, 25 + by[1] : 25 + by[1] + W]
    moved = warp(kernel, images, matrices_of(len(images), t=by[0], u=by[1]))
    np.testing.assert_array_equal(moved, expected)


@given(shape=SHAPES, seed=SEEDS, interpolation=st.sampled_from(INTERPOLATIONS))
def test_backends_give_the_same_bytes(shape, seed, interpolation):
    rng = np.random.default_rng(seed)
    images = images_of(shape, seed)
    matrices = matrices_of(len(images)) + rng.normal(0, 1, (len(images), 2, 3)) * [1, 1, 9]
    results = [warp((backend, interpolation), images, matrices) for backend in ("numpy", "numba")]
    np.testing.assert_array_equal(*results)


@given(kernel=KERNELS, seed=SEEDS, n=st.integers(2, 5))
def test_an_image_does_not_depend_on_its_neighbours(kernel, seed, n):
    rng = np.random.default_rng(seed)
    images = images_of((n, 9, 7, 3), seed)
    matrices = matrices_of(n) + rng.normal(0, 0.5, (n, 2, 3))
    together = warp(kernel, images, matrices)
    for i in range(n):
        alone = warp(kernel, images[i : i + 1], matrices[i : i + 1])
        np.testing.assert_array_equal(together[i], alone[0])


def exact(image, matrix, interpolation):
    """One image, one pixel at a time, in floating point: the definition."""
    H, W, C = image.shape
    out = np.empty((H, W, C))
    for r in range(H):
        for c in range(W):
            y, x = matrix @ (r, c, 1.0)
            y, x = np.clip(y, 0, H - 1), np.clip(x, 0, W - 1)
            if interpolation == "nearest":
                out[r, c] = image[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
                continue
            i, j = int(y), int(x)
            f, g = y - i, x - j
            i1, j1 = min(i + 1, H - 1), min(j + 1, W - 1)
            top = image[i, j] * (1 - g) + image[i, j1] * g
            out[r, c] = top * (1 - f) + (image[i1, j] * (1 - g) + image[i1, j1] * g) * f
    return out


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_agrees_with_the_definition(backend, interpolation):
    """Bilinear weights are kept in 1/256, so a value is off by at most 1 + 2 * 255 / 512."""
    rng = np.random.default_rng(0)
    images = images_of((20, 11, 8, 3), 0)
    matrices = matrices_of(20) + rng.normal(0, 0.4, (20, 2, 3)) * [1, 1, 5]
    out = warp((backend, interpolation), images, matrices)
    expected = np.stack(
        [exact(*pair, interpolation) for pair in zip(images, matrices, strict=True)]
    )
    bound = 0 if interpolation == "nearest" else 2.0
    assert np.abs(out - expected).max() <= bound


def test_half_way_goes_to_the_higher_index(backend):
    images = np.array([[[[0]], [[10]], [[20]]]], np.uint8)  # (1, 3, 1, 1)
    half = matrices_of(1, t=0.5)
    assert warp((backend, "nearest"), images, half).ravel().tolist() == [10, 20, 20]
    assert warp((backend, "bilinear"), images, half).ravel().tolist() == [5, 15, 20]
