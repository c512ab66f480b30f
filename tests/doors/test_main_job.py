"""The main job as a person does it: pictures, prepare, train, evaluate, predict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minissr import evaluate, predict, prepare, train
from minissr.data.images import opencv
from minissr.data.synthetic import draw_faces
from minissr.training import figures
from tests.doors.conftest import Run
from tests.training.tiny import NETWORK

NUMPY = ["--backend", "numpy"]
FLAGS = [*NUMPY, "--epochs", "1", "--batch-size", "8"]
FLAGS += [f"--set={key}={value}" for key, value in NETWORK.items()]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures with a labels file, as anybody might have them."""
    folder = tmp_path_factory.mktemp("album")
    images, ages, _ = draw_faces(30, stream="train", seed=5)
    rows = ["file,age,gender"]
    for i, (image, age) in enumerate(zip(images, ages, strict=True)):
        opencv().imwrite(str(folder / f"{i:02d}.png"), image[..., ::-1])
        rows.append(f"{i:02d}.png,{age:g},{'fm'[i % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_from_pictures_to_ages(
    call: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")
    data, run = tmp_path / "data", tmp_path / "run"
    labels = ["--labels", album / "labels.csv"]
    assert call(prepare, "csv", album, *labels, "--out", data)[0] == 0
    code, out, err = call(train, "--data", data, *FLAGS, "--out", run)
    assert code == 0, err
    assert "faces, in years" in out

    code, out, err = call(evaluate, run, "--data", data, "--json", tmp_path / "e.json", *NUMPY)
    assert code == 0, err
    assert "split    val" in out  # there is no test split
    measured = json.loads((tmp_path / "e.json").read_text())
    assert measured["best_possible_mae"] is None
    groups = measured.get("by_group", {}).get("gender", [])
    assert {group["value"] for group in groups} <= {"f", "m"}

    code, out, _ = call(predict, album, "--weights", run, "--json", "-", *NUMPY)
    assert code == 0
    assert len(json.loads(out)) == 30


def test_a_run_finds_its_data_where_it_was_moved_and_no_other(
    call: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")
    data, run = tmp_path / "data", tmp_path / "run"
    labels = ["--labels", album / "labels.csv"]
    assert call(prepare, "csv", album, *labels, "--out", data)[0] == 0
    assert call(prepare, "csv", album, *labels, "--out", tmp_path / "other", "--seed", 1)[0] == 0
    assert call(train, "--data", data, *FLAGS, "--out", run)[0] == 0
    (run / "report.md").unlink()  # as if it had been killed before the end
    data.rename(tmp_path / "moved")
    code, _, err = call(train, "--resume", run)
    assert (code, "minissr.prepare" in err) == (2, True)
    code, _, err = call(train, "--resume", run, "--data", tmp_path / "other")
    assert (code, "belongs to other data" in err) == (3, True)
    assert call(train, "--resume", run, "--data", tmp_path / "moved")[0] == 0
    assert (run / "report.md").exists()
