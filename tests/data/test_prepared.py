"""The on-disk form: whole or not there, and every damage said."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest

from minissr.data.faces import Dataset, FaceSet
from minissr.data.images import decode, shrink
from minissr.data.opening import open_dataset
from minissr.data.preparation import prepare
from minissr.data.prepared import check_images
from minissr.data.writing import NewDataset
from minissr.errors import DataError, DiskError, RunInUseError
from tests.data.drawings import as_folder, labels_csv, picture

FILES = {f"{seed}.jpg": picture(seed) for seed in range(8)}
AGES = {f"{seed}.jpg": 10 + 5.5 * seed for seed in range(8)}
SPLIT = {f"{seed}.jpg": ("val", "train", "test")[seed % 3] for seed in range(8)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    base = tmp_path_factory.mktemp("prepared")
    folder = as_folder(base / "in", FILES)
    mood = {"0.jpg": "glad", "1.jpg": 'a "quoted", one'}
    labels = labels_csv(base / "labels.csv", AGES, split=SPLIT, gender=dict.fromkeys(AGES, 1))
    text = labels.read_text().splitlines()
    rows = [
        text[0] + ",mood",
        *(f'{line},"{mood.get(line[:5], "").replace(chr(34), chr(34) * 2)}"' for line in text[1:]),
    ]
    labels.write_text("\n".join(rows))
    prepare("csv", folder, base / "data", labels=labels)
    return base / "data"


@pytest.fixture
def copy(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "data")


def test_everything_comes_back(prepared):
    data = open_dataset(prepared)
    assert isinstance(data, Dataset)
    assert {name: len(faces) for name, faces in data.splits.items()} == {
        "train": 3,
        "val": 3,
        "test": 2,
    }
    for name, faces in data.splits.items():
        assert faces.images.dtype == np.uint8
        assert faces.ages.dtype == np.float32
        for i, file in enumerate(faces.labels["file"]):
            assert SPLIT[file] == name
            assert faces.ages[i] == AGES[file]
            np.testing.assert_array_equal(faces.images[i], shrink(decode(FILES[file])))
    train = data.split("train").labels
    assert train["gender"].dtype == np.int64
    assert train["mood"].tolist() == ['a "quoted", one', "", ""]
    assert set(train) == {"file", "group", "gender", "mood"}
    assert "3 train, 3 val, 2 test" in data.describe()
    assert data.preprocessing.color == "rgb"
    check_images(prepared)


def test_faces_are_mapped_not_read(prepared):
    images = open_dataset(prepared).splits["val"].images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_no_such_split(prepared):
    data = open_dataset(prepared)
    data.splits.pop("val")
    with pytest.raises(DataError, match="has no val faces, only train, test"):
        data.split("val")


def edit_meta(directory, **changes):
    meta = json.loads((directory / "meta.json").read_text())
    (directory / "meta.json").write_text(json.dumps({**meta, **changes}))


def test_damage_is_said(copy):
    def says(match):
        with pytest.raises(DataError, match=match) as error:
            open_dataset(copy)
        assert "\n" not in str(error.value)

    images = (copy / "images.npy").read_bytes()
    (copy / "images.npy").write_bytes(images[:-1])
    says("truncated.*run prepare again")
    (copy / "images.npy").write_bytes(images + b"x")
    says("bytes, not")
    np.save(copy / "images.npy", np.zeros((8, 64, 64, 3), np.int8))
    says("holds int8")
    np.save(copy / "images.npy", np.zeros((7, 64, 64, 3), np.uint8))
    says(r"\(7, 64, 64, 3\)")
    np.save(copy / "images.npy", np.array([{}]), allow_pickle=True)
    says("damaged")
    (copy / "images.npy").unlink()
    says("missing")
    (copy / "images.npy").write_bytes(images[:-1] + bytes([images[-1] ^ 1]))
    open_dataset(copy)
    with pytest.raises(DataError, match="was changed since"):
        check_images(copy)
    (copy / "images.npy").write_bytes(images)

    labels = (copy / "labels.csv").read_bytes()
    (copy / "labels.csv").write_bytes(labels.replace(b"val", b"xal"))
    says("labels.csv: was changed")
    (copy / "labels.csv").unlink()
    says("labels.csv: can't be read")
    (copy / "labels.csv").write_bytes(labels)

    meta = (copy / "meta.json").read_bytes()
    for change, match in [
        ({"version": 2}, "version 2"),
        ({"format": "x"}, "does not describe faces"),
        ({"splits": {"train": "many"}}, "lacks or garbles"),
        ({"splits": {"train": 9}}, r"where meta.json says uint8 \(9"),
        ({"digests": {}}, "lacks or garbles 'images.npy'"),
        ({"preprocessing": {"color": "xyz"}}, "xyz"),
    ]:
        edit_meta(copy, **change)
        says(match)
        (copy / "meta.json").write_bytes(meta)
    (copy / "meta.json").write_bytes(meta[:50])
    says("meta.json: is damaged")
    (copy / "meta.json").unlink()
    says("is no prepared data set")


def test_what_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match="'nowhere' is neither 'synthetic' nor a directory"):
        open_dataset("nowhere")
    with pytest.raises(DataError, match=r"no prepared data set \(no meta.json\)"):
        open_dataset(tmp_path)
    (tmp_path / "x.tar").write_bytes(b"x")
    with pytest.raises(DataError, match="is a file; prepare it first"):
        open_dataset(tmp_path / "x.tar")
    (tmp_path / "decoded.part").write_bytes(b"x")
    with pytest.raises(DataError, match="was interrupted"):
        open_dataset(tmp_path)


def test_settings_of_synthetic_faces_are_not_ignored(prepared):
    with pytest.raises(ValueError, match="train_images: settings of synthetic faces"):
        open_dataset(prepared, settings={"train_images": 5})


def test_digest_follows_the_data(prepared, tmp_path):
    folder = as_folder(tmp_path / "in", FILES)
    labels = labels_csv(tmp_path / "labels.csv", AGES, split=SPLIT)
    prepare("csv", folder, tmp_path / "a", labels=labels)
    prepare("csv", folder, tmp_path / "b", labels=labels)
    labels_csv(labels, {**AGES, "3.jpg": 99}, split=SPLIT)
    prepare("csv", folder, tmp_path / "c", labels=labels)
    digests = [open_dataset(tmp_path / name).digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    for name in ("images.npy", "labels.csv", "meta.json", "contact.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_directory_that_holds_something_else_is_refused(prepared, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"it holds thesis\.txt"):
            NewDataset(tmp_path, overwrite=overwrite).__enter__()
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(DataError, match="complete data set; name another"):
        NewDataset(prepared).__enter__()
    with pytest.raises(DataError, match="is a file"):
        NewDataset(tmp_path / "thesis.txt").__enter__()
    with pytest.raises(DiskError, match="can't be written"):
        NewDataset(tmp_path / "thesis.txt" / "data").__enter__()


@pytest.mark.parametrize("name", ["images.npy", "labels.csv", "contact.png"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_a_person_that_is_named_like_ours_is_kept(name, overwrite, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    folder = as_folder(tmp_path / "in", FILES)
    labels = labels_csv(tmp_path / "labels.csv", AGES)
    with pytest.raises(DataError, match=f"not empty .it holds {name}"):
        prepare("csv", folder, out, labels=labels, overwrite=overwrite)
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "mine"


def test_an_error_between_the_renames_can_be_prepared_over(tmp_path, monkeypatch):
    """Also after another try that failed before it had anything to write."""
    folder = as_folder(tmp_path / "in", FILES)
    labels = labels_csv(tmp_path / "labels.csv", AGES)
    replace = os.replace

    def failing(source, target):
        if target.name == "labels.csv":
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("minissr.data.writing.os.replace", failing)
        with pytest.raises(DiskError, match="input/output error"):
            prepare("csv", folder, tmp_path / "out", labels=labels)
    with pytest.raises(DataError, match="no such labels file"):
        prepare("csv", folder, tmp_path / "out", labels=tmp_path / "none.csv")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"decoded.part", "images.npy"}
    with pytest.raises(DataError, match="was interrupted"):
        open_dataset(tmp_path / "out")
    prepare("csv", folder, tmp_path / "out", labels=labels)
    check_images(tmp_path / "out")
    assert not (tmp_path / "out" / "decoded.part").exists()


def _hold(directory, ready, done):
    with NewDataset(directory):
        ready.set()
        done.wait(30)


@pytest.mark.skipif(os.name != "posix", reason="flock")
def test_two_writers_cannot_share_a_directory(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "data", ready, done))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(RunInUseError, match="another prepare"):
            NewDataset(tmp_path / "data").__enter__()
    finally:
        done.set()
        other.join()


def test_an_error_on_writing_leaves_the_old_data_set_and_says_disk(copy, tmp_path, monkeypatch):
    before = {p.name: p.read_bytes() for p in copy.iterdir()}
    folder = as_folder(tmp_path / "in", FILES)
    labels = labels_csv(tmp_path / "labels.csv", AGES)

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minissr.data.writing._sync", full)
    with pytest.raises(DiskError, match=r"no space left on device.*make room"):
        prepare("csv", folder, copy, labels=labels, overwrite=True)
    assert {p.name: p.read_bytes() for p in copy.iterdir()} == before


@pytest.mark.parametrize("step", range(6))
def test_killed_at_any_rename_it_is_whole_or_said_to_be_interrupted(
    step, copy, tmp_path, monkeypatch
):
    """Steps 0..4 are the renames and the removal of meta.json before them; at 5 nothing happens."""
    folder = as_folder(tmp_path / "in", FILES)
    labels = labels_csv(tmp_path / "labels.csv", AGES)
    old = open_dataset(copy).digest
    calls = []

    class Killed(BaseException):
        pass

    def dying(function):
        def call(*args, **kwargs):
            if len(calls) == step:
                raise Killed
            calls.append(function)
            return function(*args, **kwargs)

        return call

    real = NewDataset.finish

    def finish(self, *args):
        monkeypatch.setattr("minissr.data.writing.os.replace", dying(os.replace))
        monkeypatch.setattr("minissr.data.writing._sync_directory", dying(lambda path: None))
        try:
            return real(self, *args)
        finally:
            monkeypatch.undo()

    monkeypatch.setattr("minissr.data.writing.NewDataset.finish", finish)
    monkeypatch.setattr("minissr.data.writing.NewDataset.__exit__", lambda *_: None)
    try:
        prepare("csv", folder, copy, labels=labels, overwrite=True)
    except Killed:
        pass
    finally:
        monkeypatch.undo()
    if (copy / "meta.json").exists():
        assert open_dataset(copy).digest != old
        assert step == 5
    else:
        with pytest.raises(DataError, match="was interrupted"):
            open_dataset(copy)
        said = []
        prepare("csv", folder, copy, labels=labels, say=said.append)
        assert "interrupted prepare left; starting over" in said[0]
    assert open_dataset(copy).digest != old
    check_images(copy)


def test_face_sets_check_their_shapes():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    assert FaceSet(images, [1, 2, 3]).ages.dtype == np.float32
    with pytest.raises(ValueError, match=r"ages has shape \(2,\); expected \(3,\)"):
        FaceSet(images, np.zeros(2))
    with pytest.raises(ValueError, match="group has shape"):
        FaceSet(images, np.zeros(3), {"group": np.zeros(4)})
    with pytest.raises(ValueError, match="float32"):
        FaceSet(images.astype(np.float32), np.zeros(3))
