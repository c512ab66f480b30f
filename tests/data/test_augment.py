"""Augmentation: the released code's movements, and nothing but (seed, epoch, index) decides."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.data import appearance
from minissr.data.augment import CHOICES, paper_matrices, parse_augment, warp
from minissr.data.philox import philox4x32, uniform
from minissr.kernels.backend import use_backend
from tests.data.drawings import drawing

SPECS = (
    "paper",
    "paper-nearest",
    "half",
    "flip",
    "light",
    "color",
    "blur",
    "erase",
    "paper+light+color+blur+erase",
)


def faces(n, size=32, seed=0):
    return np.stack([drawing(seed + i, size, size) for i in range(n)])


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_authors_numbers(counter, key, expected):
    """Known answers published with Random123 (Salmon et al. 2011)."""
    assert philox4x32(np.array(counter, np.uint64), key).tolist() == list(expected)


def test_uniform_numbers_are_uniform_and_apart():
    u = uniform(3, 1, np.arange(20_000), range(2))
    assert u.shape == (20_000, 8)
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(u.T), np.eye(8), atol=0.03)
    others = [uniform(*args) for args in [
        (4, 1, np.arange(9), range(2)), (3, 2, np.arange(9), range(2)),
        (3, 1, np.arange(9) + 2**32, range(2)), (3 + 2**32, 1, np.arange(9), range(2)),
        (3, 1, np.arange(9), range(2, 4)),
    ]]  # fmt: skip
    for other in others:
        assert not np.isin(other, u[:9]).any()


@given(
    spec=st.sampled_from(SPECS),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
    cut=st.integers(1, 7),
)
def test_an_image_depends_on_seed_epoch_and_index_only(spec, seed, epoch, cut):
    augment = parse_augment(spec)
    images, index = faces(8), np.array([5, 0, 99, 7, 10**10, 3, 2, 1])
    before = images.copy()
    whole = augment(images, seed, epoch, index)
    parts = [augment(images[s], seed, epoch, index[s]) for s in (slice(cut), slice(cut, None))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    backwards = augment(images[::-1], seed, epoch, index[::-1])
    np.testing.assert_array_equal(whole, backwards[::-1])
    np.testing.assert_array_equal(images, before)
    assert whole.dtype == np.uint8


@pytest.mark.parametrize("spec", SPECS)
def test_seed_and_epoch_change_what_happens(spec):
    augment, images, index = parse_augment(spec), faces(40), np.arange(40)
    once = augment(images, 0, 0, index)
    assert (once != images).any()
    assert (once != augment(images, 1, 0, index)).any()
    assert (once != augment(images, 0, 1, index)).any()


def test_backends_and_threads_give_the_same_bytes():
    augment, images, index = parse_augment("paper+light+blur"), faces(60, 64), np.arange(60)
    results = []
    with use_backend("numpy"):
        results.append(augment(images, 0, 0, index))
    thread = threading.Thread(target=lambda: results.append(augment(images, 0, 0, index)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(*results)


def test_adding_an_extra_changes_nothing_about_the_warp():
    images, index = faces(30), np.arange(30)
    warped = parse_augment("paper")(images, 0, 0, index)
    lit = parse_augment("light")(warped, 0, 0, index)
    np.testing.assert_array_equal(parse_augment("light+paper")(images, 0, 0, index), lit)


DRAWS = uniform(0, 0, np.arange(40_000), range(3))


def test_how_often_and_how_far():
    """Shares and ranges of the released code, read back from the matrices."""
    _, flipped, moved = paper_matrices(DRAWS, 64)
    assert abs(flipped.mean() - 0.5) < 0.01
    assert abs(moved.mean() - (1 - 0.75**4)) < 0.01
    limits = {1: (2, 20 * np.pi / 180), 3: (4, 0.2)}
    for gate, (value, limit) in limits.items():
        only = np.ones_like(DRAWS)
        only[:, gate : value + 1] = DRAWS[:, gate : value + 1]
        matrices, _, moved = paper_matrices(only, 64)
        assert abs(moved.mean() - 0.25) < 0.01
        angle = -np.arcsin(matrices[:, 0, 1])
        assert limit * 0.99 < angle.max() <= limit
        assert -limit <= angle.min() < -limit * 0.99
        assert (angle[~moved] == 0).all()
        centre = matrices @ [32.5, 32.5, 1.0]
        np.testing.assert_allclose(centre, 32.5, rtol=1e-12)
    only = np.ones_like(DRAWS)
    only[:, 5:8] = DRAWS[:, 5:8]
    matrices, _, moved = paper_matrices(only, 64)
    shifts = matrices[moved, :, 2]
    assert ((shifts.max(axis=0) > 12.7) & (shifts.max(axis=0) <= 12.8)).all()
    assert ((shifts.min(axis=0) >= -12.8) & (shifts.min(axis=0) < -12.7)).all()
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.05
    np.testing.assert_array_equal(matrices[:, :, :2], np.broadcast_to(np.eye(2), (40_000, 2, 2)))
    only = np.ones_like(DRAWS)
    only[:, 8:11] = DRAWS[:, 8:11]
    matrices, _, moved = paper_matrices(only, 64)
    zooms = matrices[moved][:, [0, 1], [0, 1]]
    assert ((zooms.min(axis=0) >= 0.8) & (zooms.min(axis=0) < 0.801)).all()
    assert ((zooms.max(axis=0) > 1.199) & (zooms.max(axis=0) <= 1.2)).all()
    assert abs(np.corrcoef(zooms.T)[0, 1]) < 0.05


def test_half_goes_half_as_far():
    _, mirrored, moved = paper_matrices(DRAWS, 64)
    _, *same = paper_matrices(DRAWS, 64, 0.5)
    np.testing.assert_array_equal(same, [mirrored, moved])
    for gate, place in ((5, (0, 2)), (5, (1, 2)), (8, (0, 0)), (8, (1, 1))):  # shift, zoom
        only = np.ones_like(DRAWS)
        only[:, gate : gate + 3] = DRAWS[:, gate : gate + 3]
        moves = [paper_matrices(only, 64, reach)[0] - np.eye(2, 3) for reach in (1.0, 0.5)]
        far, near = (move[:, place[0], place[1]] for move in moves)
        np.testing.assert_allclose(near, far / 2, atol=1e-12)
        assert np.abs(near).max() > 0.09
    only = np.ones_like(DRAWS)
    only[:, 1:5] = DRAWS[:, 1:5]
    turned = paper_matrices(only, 64, 0.5)[0]
    assert np.deg2rad(9.9) < np.arcsin(turned[:, 1, 0]).max() <= np.deg2rad(10)


def test_flip_only_mirrors():
    images, index = faces(40), np.arange(40)
    out = parse_augment("flip")(images, 0, 0, index)
    _, mirrored, _ = paper_matrices(uniform(0, 0, index, range(3)), 32)
    assert 10 < mirrored.sum() < 30
    np.testing.assert_array_equal(out[mirrored], images[mirrored][:, :, ::-1])
    np.testing.assert_array_equal(out[~mirrored], images[~mirrored])


def test_one_matrix_is_the_steps_one_after_the_other():
    """Points followed through five separate steps, written out as the released code does them."""
    size, centre = 64, 32.5
    matrices, _, _ = paper_matrices(np.minimum(DRAWS[:200], 0.24), size)  # everything happens
    points = np.random.default_rng(0).uniform(0, 64, (50, 2))
    for u, matrix in zip(np.minimum(DRAWS[:200], 0.24), matrices, strict=True):
        theta = np.deg2rad(-20 + 40 * u[2])
        shear = -0.2 + 0.4 * u[4]
        by = (-0.2 + 0.4 * u[6:8]) * size
        zoom = 0.8 + 0.4 * u[9:11]
        rotation = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        shearing = np.array([[1, -np.sin(shear)], [0, np.cos(shear)]])
        p = points
        p = (p - centre) * zoom + centre  # an output pixel's source, last step first
        p = p + by
        p = (p - centre) @ shearing.T + centre
        p = (p - centre) @ rotation.T + centre
        p = np.stack([p[:, 0], size - 1 - p[:, 1]], axis=1)
        np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], p, atol=1e-9)


def test_resampling_once_is_near_resampling_five_times():
    """On a smooth picture the deviation we document is small where no edge was crossed."""
    steps = [
        np.where(np.isin(np.arange(12), columns), np.minimum(DRAWS[7], 0.24), 0.9)[None]
        for columns in ([0], [1, 2], [3, 4], [8, 9, 10])
    ]
    together = np.where(np.isin(np.arange(12), [5, 6, 7]), 0.9, np.minimum(DRAWS[7], 0.24))[None]
    ramp = np.add.outer(np.arange(64) * 2, np.arange(64) * 1.5).astype(np.uint8)
    image = np.repeat(ramp[None, :, :, None], 3, axis=3)
    one_by_one = image
    for draws in steps:
        one_by_one = warp(one_by_one, draws, "nearest")
    difference = np.abs(warp(image, together, "bilinear").astype(int) - one_by_one)
    assert difference[:, 16:48, 16:48].max() <= 6
    assert difference[:, 16:48, 16:48].mean() < 2


def test_unmoved_images_are_exact_copies_or_mirrors():
    images = faces(200)
    u = DRAWS[:200]
    _, flipped, moved = paper_matrices(u, 32)
    out = warp(images, u, "bilinear")
    np.testing.assert_array_equal(out[~moved & ~flipped], images[~moved & ~flipped])
    np.testing.assert_array_equal(out[~moved & flipped], images[~moved & flipped][:, :, ::-1])


def test_light_and_color_keep_the_order_of_pixels():
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    images = np.repeat(ramp, 50, axis=0)
    u = DRAWS[:50]
    for change, share in ((appearance.light, 0.5), (appearance.color, 0.5)):
        out = change(images, u)
        flat = out.reshape(50, 256, 3).astype(int)
        assert (np.diff(flat, axis=1) >= 0).all()
        changed = (out != images).any(axis=(1, 2, 3))
        np.testing.assert_array_equal(changed, u[:, 0] < share)


def test_blur_keeps_constants_and_smooths():
    u = np.tile([0.0, 0.9, 0, 0], (1, 1))
    constant = np.full((1, 16, 16, 3), 200, np.uint8)
    np.testing.assert_array_equal(appearance.blur(constant, u), constant)
    point = np.zeros((1, 16, 16, 3), np.uint8)
    point[0, 8, 8] = 255
    out = appearance.blur(point, u)[0, :, :, 0]
    assert 0 < out[8, 8] < 255
    assert (out[4:13, 4:13] > 0).sum() == 25
    np.testing.assert_array_equal(out, out.T)
    assert abs(int(out.sum()) - 255) < 13


@given(seed=st.integers(0, 2**32))
def test_erase_covers_one_rectangle_inside(seed):
    images = faces(20)
    u = uniform(seed, 0, np.arange(20), range(2))
    changed = (appearance.erase(images, u) != images).any(axis=3)
    for n, mask in enumerate(changed):
        if u[n, 0] >= 0.5:
            assert not mask.any()
            continue
        rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert box <= 0.25 * mask.size
        assert mask.sum() > 0.9 * box


def test_none_is_nothing():
    images = faces(2)
    assert parse_augment("none")(images, 0, 0, np.arange(2)) is images


def test_names():
    assert parse_augment("blur+paper+light").name == "paper+light+blur"
    assert parse_augment(" paper + erase").name == "paper+erase"
    assert parse_augment("none").name == "none"
    for name in CHOICES:
        assert parse_augment(parse_augment(name).name).name == name


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "papr",
            "'papr': 'papr' is unknown; there are none, paper, paper-nearest, half",
        ),
        ("", "'': '' is unknown"),
        ("paper+", "'paper+': '' is unknown"),
        ("paper+paper", "one thing twice"),
        ("none+light", "none beside others"),
        ("paper+paper-nearest", "warps twice"),
    ],
)
def test_names_that_are_none(spec, said):
    with pytest.raises(ValueError, match=said.replace("+", r"\+")):
        parse_augment(spec)
