"""What belongs together stays together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.data.duplicates import (
    SIDE,
    SIMILAR,
    Groups,
    group_pictures,
    near_duplicates,
    signatures,
)
from minissr.data.images import opencv
from minissr.data.split import divided_groups, split_by_group
from minissr.errors import DataError
from tests.data.drawings import drawing


@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=40),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_groups_are_never_divided(sizes, share, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    splits = split_by_group(groups, share, seed)
    assert divided_groups(groups, splits) == 0
    assert set(splits) == {"train", "val"}
    np.testing.assert_array_equal(splits, split_by_group(groups, share, seed))
    # As near to the share as whole groups allow, unless one side had to be given something.
    target = max(1, round(share * len(groups)))
    taken = int((splits == "val").sum())
    assert taken <= max(target, min(sizes))
    assert taken > target - max(sizes) or (splits == "train").sum() <= max(sizes)


def test_the_seed_changes_the_split():
    groups = np.arange(100)
    assert (split_by_group(groups, 0.2, 0) == "val").sum() == 20
    assert (split_by_group(groups, 0.2, 0) != split_by_group(groups, 0.2, 1)).any()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_impossible_shares(share):
    with pytest.raises(ValueError, match="expected more than 0 and less than 1"):
        split_by_group(np.arange(5), share, 0)


def test_one_group_in_all():
    with pytest.raises(DataError, match="all 5 pictures are of one group"):
        split_by_group(np.zeros(5, int), 0.2, 0)


def test_divided_groups_are_counted():
    assert divided_groups(np.array([0, 0, 0, 1, 2, 2]), list("abcaab")) == 2


@given(
    n=st.integers(1, 30),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40),
)
def test_groups_are_what_is_connected(n, pairs):
    pairs = [(i % n, j % n) for i, j in pairs]
    groups = Groups(n)
    reach = np.eye(n, dtype=bool)
    for i, j in pairs:
        groups.join(i, j)
        reach[i, j] = reach[j, i] = True
    for _ in range(n):
        reach = (reach.astype(int) @ reach) > 0
    numbers = groups.numbers()
    np.testing.assert_array_equal(numbers[:, None] == numbers[None, :], reach)
    np.testing.assert_array_equal(np.unique(numbers), np.arange(numbers.max() + 1))


def small(image):
    return opencv().resize(image, (64, 64), interpolation=opencv().INTER_AREA)


def test_near_duplicates_are_found():
    """The same picture scaled, brightened, recompressed and mirrored; and others."""
    cv2 = opencv()
    base = drawing(7, 200, 200)
    _, file = cv2.imencode(".jpg", base, [cv2.IMWRITE_JPEG_QUALITY, 40])
    same = [
        base,
        cv2.resize(base, (90, 90)),
        np.clip(base * 0.8 + 30, 0, 255).astype(np.uint8),
        cv2.imdecode(file, cv2.IMREAD_COLOR),
        base[:, ::-1],
    ]
    others = [drawing(seed, 200, 200) for seed in range(20, 40)]
    faces = np.stack([small(image) for image in [*same, *others]])
    groups = group_pictures(faces, np.arange(len(faces)), [b""] * len(faces))
    assert len(set(groups[: len(same)])) == 1
    assert len(set(groups)) == 1 + len(others)


def test_screening_loses_no_pair(monkeypatch):
    """The quick comparison finds exactly what comparing everything finds, across blocks too."""
    monkeypatch.setattr("minissr.data.duplicates.BLOCK", 16)
    rng = np.random.default_rng(0)
    base = np.stack([small(drawing(seed)) for seed in range(30)]).astype(float)
    # Blends with the next drawing: correlations on both sides of the limit, and close to it.
    blends = [base + share * (np.roll(base, 1, axis=0) - base) for share in (0.15, 0.2, 0.25, 0.3)]
    faces = np.concatenate([base, *blends, base[:, :, ::-1]])
    faces = rng.permutation(np.clip(faces, 0, 255).astype(np.uint8))
    s = signatures(faces, np.arange(len(faces)))
    mirrored = s.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(s), -1)
    similar = (s @ s.T > SIMILAR) | (s @ mirrored.T > SIMILAR)
    expected = {(i, j) for i, j in np.argwhere(similar).tolist() if i < j}
    strengths = np.sort((s @ s.T)[np.triu_indices(len(s), 1)])
    assert np.abs(strengths - SIMILAR).min() < 1e-3
    assert len(expected) > 50
    assert set(near_duplicates(s)) == expected


def test_flat_pictures_resemble_nothing():
    faces = np.full((5, 64, 64, 3), 90, np.uint8)
    assert len(set(group_pictures(faces, np.arange(5), [b""] * 5))) == 5


def test_copies_and_persons_belong_together():
    faces = np.stack([small(drawing(seed)) for seed in range(6)])
    digests = [b"a", b"b", b"a", b"c", b"d", b"e"]
    persons = ["x", "y", "", "y", "", "z"]
    groups = group_pictures(faces, np.arange(6), digests, [persons])
    assert groups.tolist() == [0, 1, 0, 1, 2, 3]
    chosen = np.array([5, 2, 0])  # only some of the faces are rows
    groups = group_pictures(faces, chosen, [b"e", b"a", b"a"], [["z", "", "x"]])
    assert groups.tolist() == [0, 1, 1]
