"""The ablation's door, on a few synthetic faces and tiny networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minissr import reproduce
from minissr.data import synthetic
from minissr.reproduction import cases
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


def study(out: Path, names: str = "minissr,dex") -> list[object]:
    return ["ablation", "--data", "synthetic", "--epochs", "2", "--cases", names, "--out", out]


def test_runs_rows_and_report(call: Run, tmp_path: Path) -> None:
    out = tmp_path / "study"
    code, printed, err = call(reproduce, *study(out))
    assert code == 0, err
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert [(row["case"], row["seed"]) for row in rows] == [
        (name, seed) for seed in range(3) for name in ("minissr", "dex")
    ]
    dex = rows[1]
    assert (dex["stages"], dex["epochs"], len(dex["val_mae_by_epoch"])) == (1, 2, 2)
    last = json.loads((out / "dex-0" / "metrics.jsonl").read_text().splitlines()[-1])
    assert dex["val_mae"] == pytest.approx(last["val_mae"], abs=1e-4)
    assert dex["lowest_age"] <= dex["highest_age"]
    assert "python -m minissr.train --data synthetic --seed 2" in printed
    text = (out / "report.md").read_text()
    assert "| dex | one stage of 27 rigid bins, as DEX | 3 |" in text
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
    ):
        code, _, err = call(reproduce, *arguments)
        assert code == 2
        assert words in err
        assert len(err.splitlines()) == 1
