"""What evaluate measures, writes and refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr import evaluate
from minissr.data import synthetic
from minissr.data.opening import open_dataset
from tests.doors.conftest import Run

FIELDS = {"n", "parameters", "mae", "median_ae", "bias", "ca3", "ca5", "rmse", "baseline_mae"}
FIELDS |= {"best_possible_mae", "by_decade", "stage_health", "checkpoint_sha256"}
NUMPY = ["--backend", "numpy"]


@pytest.fixture(autouse=True)
def _few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train_images": 20, "val_images": 12, "test_images": 30}
    monkeypatch.setattr(synthetic, "SETTINGS", few)


def test_the_figures_are_those_of_the_predictions(call: Run, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    code, out, err = call(evaluate, trained, "--data", "synthetic", "--json", file, *NUMPY)
    assert code == 0, err
    figures = json.loads(file.read_text())
    assert set(figures) | {"by_group"} == FIELDS | {"by_group"}
    data = open_dataset("synthetic")
    faces = data.split("test")
    ages = minissr.load(trained, backend="numpy").predict(faces.images)
    error = ages.astype(float) - faces.ages
    assert figures["n"] == 30
    assert figures["mae"] == pytest.approx(np.abs(error).mean())
    assert figures["bias"] == pytest.approx(error.mean())
    assert figures["ca5"] == pytest.approx((np.abs(error) <= 5).mean())
    median = np.median(data.split("train").ages)
    assert figures["baseline_mae"] == pytest.approx(np.abs(faces.ages - median).mean())
    assert figures["best_possible_mae"] == data.best_possible_mae
    assert figures["parameters"] == 1135
    assert sum(decade["n"] for decade in figures["by_decade"]) == 30
    assert [stage["stage"] for stage in figures["stage_health"]] == [1, 2, 3]
    best = (trained / "best.safetensors").read_bytes()
    assert figures["checkpoint_sha256"] == hashlib.sha256(best).hexdigest()
    assert f"{figures['mae']:.2f}" in out
    assert f"always the median of the training faces ({median:g})" in out


@pytest.mark.parametrize(("split", "n"), [("train", 20), ("val", 12), ("test", 30), ("all", 62)])
def test_each_split_can_be_measured(call: Run, trained: Path, split: str, n: int) -> None:
    arguments = [trained, "--data", "synthetic", "--split", split, "--json", "-", *NUMPY]
    code, out, err = call(evaluate, *arguments)
    assert code == 0
    assert json.loads(out)["n"] == n
    assert f"split    {split}, {n} faces" in err  # what is for reading makes way


def test_any_checkpoint_will_do(call: Run, trained: Path) -> None:
    for file in ("last.safetensors", "best.safetensors"):
        assert call(evaluate, trained / file, "--data", "synthetic", *NUMPY)[0] == 0


@pytest.mark.parametrize(
    ("checkpoint", "arguments", "code", "says"),
    [
        ("nothing", ["--data", "synthetic"], 3, "no such checkpoint"),
        (".", ["--data", "synthetic"], 3, "is a folder without best.safetensors"),
        ("notes.h5", ["--data", "synthetic"], 3, "not an HDF5 file"),
        ("NOTES.H5", ["--data", "synthetic"], 3, "not an HDF5 file"),
        ("notes.txt", ["--data", "synthetic"], 3, "not a checkpoint of minissr"),
        (None, ["--data", "nowhere"], 2, "minissr.prepare"),
        (None, ["--data", "synthetic", "--backend", "tpu"], 2, "none of auto, numpy"),
        (None, ["--data", "synthetic", "--json", "nowhere/x.json"], 3, "could not write"),
        (None, ["--data", "synthetic", "--split", "some"], 2, "invalid choice"),
        (None, [], 2, "--data"),
    ],
)
def test_what_can_not_be_is_named(
    call: Run,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: str | None,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing " * 100)
    for name in ("notes.h5", "NOTES.H5"):
        (tmp_path / name).write_text("nothing " * 100)
    done, _, err = call(evaluate, checkpoint or trained, *NUMPY, *arguments)
    assert done == code
    assert says in err


def test_faces_of_another_size_are_refused(
    call: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.data.faces import Dataset, FaceSet

    faces = FaceSet(np.zeros((3, 32, 32, 3), np.uint8), np.zeros(3))
    monkeypatch.setattr(
        "minissr.data.opening.open_dataset", lambda *_, **__: Dataset("small", {"val": faces})
    )
    code, _, err = call(evaluate, trained, "--data", "small", *NUMPY)
    assert code == 2
    assert "32x32 pixels and the network wants 64x64" in err


def test_a_set_without_training_faces_takes_the_networks_own_median(
    call: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.data.faces import Dataset

    images = open_dataset("synthetic").split("val")
    monkeypatch.setattr(
        "minissr.data.opening.open_dataset", lambda *_, **__: Dataset("only", {"test": images})
    )
    code, out, _ = call(evaluate, trained, "--data", "only", *NUMPY)
    assert code == 0
    assert "always the median of the network's training" in out


def test_labels_beyond_the_networks_range_are_told_and_kept(
    call: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.data.faces import Dataset, FaceSet

    ages = np.float32([101, 101.5, 130])
    old = Dataset("old", {"val": FaceSet(open_dataset("synthetic").split("val").images[:3], ages)})
    monkeypatch.setattr("minissr.data.opening.open_dataset", lambda *_, **__: old)
    code, out, _ = call(evaluate, trained, "--data", "old", *NUMPY)
    assert code == 0
    assert "2 labels exceed the network's range of 101 years; they are kept\n" in out
    assert "val, 3 faces" in out
    monkeypatch.undo()
    assert "exceed" not in call(evaluate, trained, "--data", "synthetic", *NUMPY)[1]


def test_flip_measures_the_mean_of_both_views(call: Run, trained: Path) -> None:
    arguments = [trained, "--data", "synthetic", "--json", "-", *NUMPY]
    plain, flipped = (json.loads(call(evaluate, *arguments, *more)[1]) for more in ([], ["--flip"]))
    assert flipped.pop("flip")
    faces = open_dataset("synthetic").split("test")
    est = minissr.load(trained, backend="numpy")
    ages = (est.predict(faces.images) + est.predict(faces.images[:, :, ::-1])) / 2
    assert flipped["mae"] == pytest.approx(np.abs(ages - faces.ages).mean(), rel=1e-6)
    assert plain["mae"] != flipped["mae"]
