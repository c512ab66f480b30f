"""The studies' door, on a few synthetic faces and tiny networks."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr import cli, reproduce, train
from minissr.data import synthetic
from minissr.data.opening import open_dataset
from minissr.reproduction import cases
from minissr.training.checkpoint import pack, read_checkpoint
from tests.doors.conftest import Run
from tests.training.tiny import NETWORK


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train_images": 20, "val_images": 12, "test_images": 8}
    monkeypatch.setattr(synthetic, "SETTINGS", few)
    training = {**cases.TRAINING, **NETWORK, "batch_size": 8, "backend": "numpy"}
    for key in list(cases.TRAINING):
        monkeypatch.delitem(cases.TRAINING, key)
    for key, value in training.items():
        monkeypatch.setitem(cases.TRAINING, key, value)


def study(out: Path, names: str = "base,dex") -> list[object]:
    return ["ablation", "--data", "synthetic", "--epochs", "2", "--cases", names, "--out", out]


def test_runs_rows_and_report(call: Run, tmp_path: Path) -> None:
    out = tmp_path / "study"
    code, printed, err = call(reproduce, *study(out))
    assert code == 0, err
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [(row["case"], row["seed"]) for row in rows] == [
        (name, seed) for seed in range(3) for name in ("base", "dex")
    ]
    dex = rows[1]
    assert (dex["stages"], dex["epochs"], len(dex["val_mae_by_epoch"])) == (1, 2, 2)
    last = json.loads((out / "dex-0" / "metrics.jsonl").read_text().splitlines()[-1])
    assert dex["val_mae"] == pytest.approx(last["val_mae"], abs=1e-4)
    assert dex["lowest_age"] <= dex["highest_age"]
    assert "python -m minissr.train --data synthetic --seed 2" in printed
    text = (out / "report.md").read_text()
    assert "| dex | one stage of 27 rigid bins, as DEX | base | 3 |" in text
    assert "Not run yet." in text
    for picture in ("errors.png", "stages.png", "curves.png"):
        assert f"({picture})" in text
        assert (out / picture).read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_not_trained_again(call: Run, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert call(reproduce, *study(out, "dex"))[0] == 0
    rows = (out / "rows.jsonl").read_text()
    code, printed, _ = call(reproduce, *study(out, "dex"))
    assert code == 0
    assert "minissr.train" not in printed
    # A lost row comes back from its run; a lost run is trained to the same row.
    (out / "rows.jsonl").write_text("".join(rows.splitlines(keepends=True)[:2]))
    code, printed, _ = call(reproduce, *study(out, "dex"))
    assert code == 0
    assert printed.count("minissr.train --resume") == 1
    assert (out / "rows.jsonl").read_text() == rows


def test_figure_2_and_table_2_share_their_runs(call: Run, tmp_path: Path) -> None:
    told = ["--data", "synthetic", "--epochs", "2", "--cases", "minissr,released"]
    code, printed, err = call(reproduce, "figure2", *told, "--out", tmp_path)
    assert code == 0, err
    assert printed.count("python -m minissr.train") == 2
    code, printed, err = call(reproduce, "table2", *told, "--out", tmp_path)
    assert code == 0, err
    assert "minissr.train" not in printed
    for name in ("figure2", "table2"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    table = (tmp_path / "table2.csv").read_text().splitlines()
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert table[1].startswith(f'"SSR-Net, ours",test,2,1,"1,135",{row["test_mae"]:.2f},')
    # The ablation reads the rows that they share, and no other study's.
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(json.dumps({**row, "case": "mobilenet", "epochs": 1}) + "\n")
    shared = ["--report-only", "--rows", tmp_path / "rows.jsonl", "--out", tmp_path / "ablation"]
    assert call(reproduce, "ablation", *shared)[0] == 0
    text = (tmp_path / "ablation" / "report.md").read_text()
    assert "2 runs of 2 epochs" in text
    assert "    python -m minissr.reproduce ablation --rows" in text  # how to train, not to report


def test_recipes_are_compared_with_the_usual_one(call: Run, tmp_path: Path) -> None:
    told = ["--data", "synthetic", "--epochs", "1", "--cases", "usual,smooth", "--out", tmp_path]
    code, _, err = call(reproduce, "recipes", *told)
    assert code == 0, err
    usual, smooth = (json.loads(x) for x in (tmp_path / "rows.jsonl").read_text().splitlines())
    text = (tmp_path / "recipes.md").read_text()
    assert f"{smooth['val_mae']:.2f} | {smooth['val_mae'] - usual['val_mae']:+.2f} |" in text


def test_figure_3_needs_no_data(call: Run, tmp_path: Path) -> None:
    assert call(reproduce, "figure3", "--out", tmp_path / "new")[0] == 0
    assert (tmp_path / "new" / "figure3.csv").exists()


def test_weights_are_written_the_same_again(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"epochs": 2, "batch_size": 8, "backend": "numpy", "average": 0.5, **NETWORK}
    monkeypatch.setattr("minissr.reproduction.recipe.RECIPE", recipe)
    for out in ("a", "b"):
        code, printed, err = call(
            reproduce, "weights", "--data", "synthetic", "--out", tmp_path / out
        )
        assert code == 0, err
        assert printed.count("written  ") == 3
    names = [f"ssrnet-synthetic{end}" for end in (".safetensors", "-int8.safetensors", ".md")]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    text = (tmp_path / "a" / names[2]).read_text()
    digest = hashlib.sha256((tmp_path / "a" / names[0]).read_bytes()).hexdigest()
    assert digest in text
    # What the card says, on the faces that the card says.
    est = minissr.load(tmp_path / "a" / names[0], backend="numpy")
    faces = open_dataset("synthetic").split("test")
    mae = np.abs(est.predict(faces.images) - faces.ages).mean()
    assert f"| float32 | {mae:.2f} |" in text
    assert "drawn faces" in est.network.about["licence"]
    # The command in the card makes the same network.
    (line,) = [x.strip() for x in text.splitlines() if "minissr.train" in x]
    told = line.replace("DATA", "synthetic").replace("RUN", str(tmp_path / "again")).split()[3:]
    assert call(train, *told, "--backend", "numpy")[0] == 0
    # So does a run of before a setting was there.
    path = tmp_path / "again" / "best.safetensors"
    best = read_checkpoint(path)
    del best.metadata["model"]["head_rate"]
    about = {k: v for k, v in best.metadata.items() if k not in ("sha256", "format")}
    path.write_bytes(pack(best.tensors, about))
    arguments = ["--data", "synthetic", "--run", tmp_path / "again", "--out", tmp_path / "c"]
    assert call(reproduce, "weights", *arguments)[0] == 0
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_weights_refuse_what_is_no_finished_run_of_these_faces(
    call: Run, trained: Path, tmp_path: Path
) -> None:
    told = ["weights", "--data", "synthetic", "--out", tmp_path / "out", "--run"]
    code, _, err = call(reproduce, *told, tmp_path)
    assert code == 3
    assert "best.safetensors" in err
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "report.md").unlink()
    code, _, err = call(reproduce, *told, run)
    assert code == 3
    assert "isn't finished" in err


def test_a_card_of_utkface_says_its_terms(tmp_path: Path) -> None:
    from minissr.reproduction.shipment import terms_of

    meta = {"format": "minissr faces", "version": 1, "source": {"kind": "utkface"}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    terms = terms_of(str(tmp_path))
    assert terms.name == "ssrnet-utkface"
    for words in ("non-commercial research", "copyright of each picture stays"):
        assert words in terms.data
        assert words in terms.licence
    meta["source"]["kind"] = "csv"
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    assert terms_of(str(tmp_path)).name == "ssrnet-csv"


def test_list_and_refusals(call: Run, tmp_path: Path) -> None:
    code, printed, _ = call(reproduce, "ablation", "--list")
    assert code == 0
    assert len(printed.splitlines()) == len(cases.CASES)
    for arguments, words in (
        (["ablation"], "needs --data and --out"),
        (["table9"], "invalid choice"),
        ([*study(tmp_path), "--cases", "dexx"], "no such case"),
        ([*study(tmp_path), "--epochs", "0"], "--epochs 0"),
        (["ablation", "--out", tmp_path, "--report-only"], "no rows yet"),
        (["figure2", "--data", "synthetic", "--out", tmp_path, "--curves", "x"], "there is no x__"),
        (["weights", "--data", "synthetic", "--out", tmp_path, "--epochs", "0"], "--epochs 0"),
        (["weights", "--out", tmp_path, "--report-only"], "weights has no rows to report"),
        (["weights", "--out", tmp_path, "--run", tmp_path], "needs --data and --out"),
        (["figure3"], "needs --data and --out"),
    ):
        code, _, err = call(reproduce, *arguments)
        assert code == 2
        assert words in err
        assert len(err.splitlines()) == 1


def test_a_run_of_other_settings_is_not_taken_for_this_one(call: Run, tmp_path: Path) -> None:
    told = ["figure2", "--data", "synthetic", "--cases", "minissr", "--out", tmp_path, "--epochs"]
    assert call(reproduce, *told, 1)[0] == 0
    other = tmp_path / "other.jsonl"
    code, _, err = call(reproduce, *told, 2, "--rows", other)
    assert code == 2
    assert "holds a run with epochs 1 instead of 2; name another --out" in err
    assert err.count("\n") == 1
    assert not other.exists()
    # Told the same, what is interrupted goes on and what is finished is looked at again.
    assert call(reproduce, *told, 1, "--rows", other)[0] == 0
    assert other.read_text() == (tmp_path / "rows.jsonl").read_text()
    other.unlink()
    for name in ("report.md", "last.safetensors", "metrics.jsonl"):
        (tmp_path / "minissr-0" / name).unlink()
    assert call(reproduce, *told, 1, "--rows", other)[0] == 0
    assert other.read_text() == (tmp_path / "rows.jsonl").read_text()


def test_a_run_of_other_faces_is_not_measured_on_these(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name, but what it holds was made anew since the run was finished."""
    told = ["figure2", "--data", "synthetic", "--cases", "minissr", "--epochs", "1"]
    assert call(reproduce, *told, "--out", tmp_path)[0] == 0
    few = {"train_images": 20, "val_images": 12, "test_images": 9}
    monkeypatch.setattr(synthetic, "SETTINGS", few)
    other = tmp_path / "other.jsonl"
    code, _, err = call(reproduce, *told, "--out", tmp_path, "--rows", other)
    assert code == 2
    assert "was trained on other faces than synthetic; name another --out" in err
    assert not other.exists()


def test_weights_of_other_settings_are_not_shipped(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"epochs": 1, "batch_size": 8, "backend": "numpy", **NETWORK}
    monkeypatch.setattr("minissr.reproduction.recipe.RECIPE", recipe)
    told = ["weights", "--data", "synthetic", "--out", tmp_path]
    assert call(reproduce, *told)[0] == 0
    monkeypatch.setitem(recipe, "loss", "smooth")
    code, printed, err = call(reproduce, *told, "--epochs", "2")
    assert code == 2
    assert "epochs 1 instead of 2, loss as usual instead of smooth; name another --out" in err
    assert "written" not in printed


def test_a_study_that_nobody_reads_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError(32, "broken pipe")

    monkeypatch.setattr("minissr.reproduction.runs.train_cases", closed)
    monkeypatch.setattr(cli, "abandon_output", lambda: None)
    assert cli.run(lambda: reproduce.main([str(word) for word in study(tmp_path)])) == 130
    said = "minissr: standard output was closed; the same command goes on\n"
    assert capsys.readouterr().err == said
