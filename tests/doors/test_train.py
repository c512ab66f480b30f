"""What the train command refuses, in which words and with which exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from minissr import train
from minissr.training import network, session
from tests.doors.conftest import Run
from tests.training.tiny import TINY


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--backend", "cuda"], 2, "auto, numpy, numba, cupy"),
        (["--model", "resnet"], 2, "none of ssrnet"),
        (["--epochs", "0"], 2, "--epochs 0; expected a whole number from 1 up"),
        (["--epochs", "two"], 2, "--epochs two; expected a whole number from 1 up"),
        (["--batch-size", "1"], 2, "--batch-size 1; expected a whole number from 2 up"),
        (["--lr", "-1"], 2, "--lr -1; expected a number above 0"),
        (["--stages", "3,0,3"], 2, "--stages 3,0,3; expected whole numbers above 0"),
        (["--stages", "3,3,3,3,3"], 2, "1 to 4 whole numbers"),
        (["--augment", "mixup"], 2, "there are none, paper"),
        (["--seed", "-1"], 2, "--seed -1; expected"),
        (["--threads", "0"], 2, "--threads 0; expected"),
        (["--init", "nothing.safetensors"], 3, "no such checkpoint"),
        (["--set", "ephocs=3"], 2, "--set ephocs: no such key; did you mean epochs?"),
        (["--set", "epochs"], 2, "expected key=value"),
        (["--set", "variant=mine"], 2, "none of minissr, paper, released"),
        (["--set", "train_images=1"], 2, "at least 2"),
        (["--set", "max_age=-5"], 2, "max"),
        (["--set", "image_size=96"], 2, "faces of 96x96 pixels, those of synthetic have 64x64"),
        (["--set", "label_sigma=1e200"], 2, "a number above 0 and below 1000"),
        (["--config", "nothing.json"], 2, "can't be read"),
        (["--config", ""], 2, "--config is empty"),
        (["--init", ""], 2, "--init is empty"),
        (["--out", ""], 2, "--out is empty"),
        (["--resume", ""], 2, "--resume is empty"),
        (["--resume", "nothing"], 3, "holds no run to resume"),
        (["--backend", "cupy"], 5, "cupy"),
    ],
)
def test_what_can_not_be_is_one_sentence_and_leaves_nothing(
    call: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    place = [] if "--resume" in arguments else [*TINY, "--out", "run"]
    done, out, err = call(train, *place, *arguments)
    assert done == code, err
    assert says in err
    assert err.startswith("minissr: ")
    assert err.count("\n") == 1
    assert "epoch" not in out
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_not_there_is_named(call: Run, tmp_path: Path) -> None:
    code, _, err = call(train, "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert code == 2
    assert "minissr.prepare" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/run", "file", "/proc/nothing/run"])
def test_a_folder_that_can_not_be_made_is_named(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    code, _, err = call(train, *TINY, "--out", place)
    assert code == 3
    assert "choose another folder with --out" in err
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_with_a_run_is_refused(call: Run, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir()}
    code, _, err = call(train, *TINY, "--out", trained)
    assert code == 4
    assert f"--resume {trained}" in err
    assert {path: path.read_bytes() for path in trained.iterdir()} == before


@pytest.mark.parametrize(
    "change", [["--epochs", "9"], ["--set", "lr=0.1"], ["--out", "x"], ["--config", "x"]]
)
def test_a_resumed_run_keeps_its_settings(call: Run, trained: Path, change: list[str]) -> None:
    code, _, err = call(train, "--resume", trained, *change)
    assert code == 2
    assert "can't be changed" in err
    assert f"--init {trained}" in err


def test_an_edited_configuration_is_noticed(call: Run, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = json.loads((trained / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "lr": 0.1}))
    (run / "last.safetensors").write_bytes((trained / "last.safetensors").read_bytes())
    code, _, err = call(train, "--resume", run)
    assert code == 3
    assert "belongs to another configuration" in err
    (run / "config.json").write_text(json.dumps({**config, "train_images": 23}))
    assert call(train, "--resume", run)[0] == 3


def test_a_run_without_weights_to_resume_is_refused(
    call: Run, trained: Path, tmp_path: Path
) -> None:
    """best.safetensors in the place of last: weights, but no optimiser."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_bytes((trained / "config.json").read_bytes())
    (run / "last.safetensors").write_bytes((trained / "best.safetensors").read_bytes())
    code, _, err = call(train, "--resume", run)
    assert code == 3
    assert "holds no training to resume" in err


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            ["--set", "compact=3", "--stages", "3,3"],
            "is a network with stages 3,3,3 instead of 3,3, levels 4,2,1 instead of 4,2, compact 2 "
            "instead of 3; choose",
        ),
        (["--model", "mobilenet"], "is a network ssrnet, not mobilenet; choose"),
    ],
)
def test_init_of_another_network_says_how_it_differs(
    call: Run, trained: Path, tmp_path: Path, other: list[str], says: str
) -> None:
    own = TINY if "--set" in other else ["--backend", "numpy"]
    code, _, err = call(train, *own, *other, "--init", trained, "--out", tmp_path / "run")
    assert code == 3
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_can_not_be_told_leaves_nothing(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is made, but saying so fails: the run never began, its name is free."""

    def failing(*_: object) -> str:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(session, "model_line", failing)
    assert call(train, *TINY, "--out", tmp_path / "run")[0] == 3
    assert list(tmp_path.iterdir()) == []


def test_init_takes_the_name_of_a_network_of_the_package(
    call: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained / "best.safetensors", tmp_path / "ours.safetensors")
    monkeypatch.setattr(network, "WEIGHTS", tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, err = call(train, *TINY, "--epochs=1", "--init", "ours", "--out", "run")
    assert code == 0, err
    assert "taken all the same" not in out


def test_init_says_what_shapes_do_not(call: Run, trained: Path, tmp_path: Path) -> None:
    """What only training reads may differ; what makes another age of a face is told."""
    told = [*TINY, "--epochs=1", "--init", trained, "--set=dropout=0.3", "--set=max_age=90"]
    told += ["--set=pixels=unit", "--out", tmp_path / "run"]
    code, out, err = call(train, *told)
    assert code == 0, err
    path = trained / "best.safetensors"
    assert f"note      {path} is a network with max_age 101.0 instead of 90.0; its weights" in out
    assert f"note      {path} was fed with scale 1.0 instead of 0.00392" in out
    assert out.count("taken all the same") == 2


def test_a_label_above_the_network_is_counted_and_kept(call: Run, tmp_path: Path) -> None:
    code, out, _ = call(train, *TINY, "--set=max_age=40", "--epochs=1", "--out", tmp_path / "run")
    assert code == 0
    assert "labels exceed the network's range of 40 years; they are kept" in out


def test_faces_that_fit_no_batch_are_said(call: Run, tmp_path: Path) -> None:
    few = [*TINY, "--epochs=1", "--set=train_images=9", "--out"]
    code, out, _ = call(train, *few, tmp_path / "odd")
    assert code == 0
    assert "1 epoch of 1 step of 8 images" in out
    assert "one face of 9, another each epoch, is left out: batch normalisation" in out
    code, out, _ = call(train, *few, tmp_path / "few", "--batch-size=50")
    assert code == 0
    assert "9 training faces don't fill a batch of 50; each step sees all of them" in out
    assert "left out" not in out


def test_without_out_a_run_gets_the_date_and_a_number(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert call(train, *TINY, "--epochs", "1")[0] == 0
    first, second = sorted((tmp_path / "runs").iterdir())
    assert first.name[:-1] == second.name[:-1]
    assert (first.name[-2:], second.name[-2:]) == ("-1", "-2")


def test_what_is_trained_and_how_is_said(call: Run, tmp_path: Path) -> None:
    code, out, err = call(train, *TINY, "--out", tmp_path / "run")
    assert code == 0
    assert "backend   numpy" in out
    assert "augment   paper" in out
    assert "1,135 parameters" in out
    assert "always the median of the training faces" in out
    assert "best possible" in out
    assert "images/s" in err


def test_the_keys_of_set_are_listed(call: Run) -> None:
    code, out, _ = call(train, "--help-set")
    assert code == 0
    assert "train_images" in out
    assert "lambda_d" in out
