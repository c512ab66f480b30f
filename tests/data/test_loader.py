"""Batches: every face once, the same tail when resumed, a thread that never stays behind."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.data.augment import parse_augment
from minissr.data.faces import FaceSet
from minissr.data.loader import Batches, prefetch
from minissr.data.opening import open_dataset
from minissr.errors import DataError
from minissr.kernels.backend import use_backend


def face_set(n, size=8):
    images = np.random.default_rng(n).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return FaceSet(images, np.arange(n, dtype=np.float32))


def loaders():
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


@given(n=st.integers(2, 60), size=st.integers(1, 20), shuffle=st.booleans(), single=st.booleans())
def test_every_face_once(n, size, shuffle, single):
    faces = face_set(n)
    batches = Batches(faces, size, seed=1, shuffle=shuffle, drop_last_if_single=single)
    made = list(batches.epoch(3))
    assert len(made) == len(batches)
    for images, ages, index in made:
        assert images.dtype == np.uint8
        assert ages.dtype == np.float32
        assert index.dtype == np.int64
        assert images.flags.c_contiguous
        np.testing.assert_array_equal(images, faces.images[index])
        np.testing.assert_array_equal(ages, faces.ages[index])
    seen = np.concatenate([index for _, _, index in made])
    left_out = n - len(seen)
    assert len(set(seen.tolist())) == len(seen)
    assert left_out == (1 if single and size > 1 and n % size == 1 else 0)
    assert all(len(index) == size for _, _, index in made[:-1])
    if not shuffle:
        np.testing.assert_array_equal(seen, np.arange(n - left_out))


@given(n=st.integers(2, 40), size=st.integers(2, 9), data=st.data())
def test_resuming_at_a_batch_gives_the_tail(n, size, data):
    batches = Batches(face_set(n), size, seed=5, augment="paper+light")
    start = data.draw(st.integers(0, len(batches)))
    whole, tail = list(batches.epoch(2)), list(batches.epoch(2, start))
    assert len(tail) == len(whole) - start
    for a, b in zip(whole[start:], tail, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_an_augmented_face_does_not_depend_on_the_batch_size():
    def by_index(size):
        batches = Batches(
            face_set(23), size, seed=9, augment="paper+erase", drop_last_if_single=False
        )
        return {
            i: x
            for images, _, index in batches.epoch(4)
            for i, x in zip(index.tolist(), images, strict=True)
        }

    a, b = by_index(5), by_index(8)
    assert a.keys() == b.keys()
    for i in a:
        np.testing.assert_array_equal(a[i], b[i])


def test_epochs_and_seeds_differ_and_repeat():
    def order(seed, epoch):
        return Batches(face_set(50), 7, seed=seed).order(epoch).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 1) != np.random.default_rng((0, 1)).permutation(50).tolist()


def test_the_face_left_out_changes():
    batches = Batches(face_set(11), 5, seed=0)
    left_out = {(set(range(11)) - set(batches.order(e).tolist())).pop() for e in range(20)}
    assert len(left_out) > 3


def test_one_face_in_all():
    with pytest.raises(DataError, match="one face in all"):
        Batches(face_set(1), 4, seed=0)
    assert len(list(Batches(face_set(1), 4, seed=0, drop_last_if_single=False).epoch(0))) == 1
    assert len(list(Batches(face_set(1), 1, seed=0).epoch(0))) == 1
    with pytest.raises(DataError, match="no faces"):
        Batches(face_set(0), 4, seed=0)


def test_fewer_faces_than_a_batch():
    [(images, _, _)] = Batches(face_set(3), 128, seed=0).epoch(0)
    assert len(images) == 3


def test_bad_arguments():
    faces = face_set(4)
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"batch size {size}"):
            Batches(faces, size, seed=0)
    with pytest.raises(ValueError, match="seed -1"):
        Batches(faces, 2, seed=-1)
    with pytest.raises(ValueError, match="there are none, paper"):
        Batches(faces, 2, seed=0, augment="mixup")
    with pytest.raises(ValueError, match="start batch 3; expected 0 to 2"):
        Batches(faces, 2, seed=0).epoch(0, 3)
    with pytest.raises(ValueError, match="epoch -1"):
        Batches(faces, 2, seed=0).epoch(-1)
    assert Batches(faces, 2, seed=0, augment=parse_augment("light")).augment.name == "light"


def test_the_chosen_backend_reaches_the_thread(monkeypatch):
    used = []

    def spy(name, backend):
        used.append(backend)
        return lambda images, matrices, interpolation: images

    monkeypatch.setattr("minissr.data.augment.lookup", spy)
    with use_backend("numpy"):
        list(Batches(face_set(8), 8, seed=0, augment="paper").epoch(0))
    assert used == ["numpy"]


def test_an_error_in_the_thread_is_raised_here():
    def broken():
        yield 1
        raise OSError(5, "Input/output error", "images.npy")

    items = prefetch(broken, 2)
    assert next(items) == 1
    with pytest.raises(OSError, match="Input/output error"):
        next(items)
    assert loaders() == []


@pytest.mark.parametrize("leave", ["close", "break", "raise", "forget"])
def test_the_thread_ends_when_the_consumer_leaves(leave):
    batches = Batches(face_set(500), 2, seed=0)
    if leave == "close":
        items = batches.epoch(0)
        next(items)
        items.close()
    elif leave == "break":
        for _ in batches.epoch(0):
            break
    elif leave == "forget":
        items = batches.epoch(0)
        next(items)
        del items
    else:
        with contextlib.suppress(KeyError):
            for _ in batches.epoch(0):
                raise KeyError
    gc.collect()
    assert loaders() == []


def test_the_thread_stays_a_few_items_in_front():
    made = []

    def count():
        for i in itertools.count():
            made.append(i)
            yield i

    items = prefetch(count, 3)
    assert next(items) == 0
    time.sleep(0.3)
    assert 1 <= len(made) <= 5  # one taken, three waiting, one in hand
    items.close()
    assert loaders() == []


def test_nothing_starts_before_the_first_batch_is_asked_for():
    items = Batches(face_set(4), 2, seed=0).epoch(0)
    assert loaders() == []
    assert len(list(items)) == 2


def test_synthetic_faces_open():
    data = open_dataset(
        "synthetic", settings={"train_images": 6, "val_images": 4, "test_images": 2}
    )
    assert {name: len(faces) for name, faces in data.splits.items()} == {
        "train": 6,
        "val": 4,
        "test": 2,
    }
    assert data.best_possible_mae is not None
    assert "best possible MAE" in data.describe()
    [(images, _, _)] = Batches(data.splits["train"], 6, seed=0, augment="paper").epoch(0)
    assert images.shape == (6, 64, 64, 3)
