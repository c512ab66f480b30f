"""The export command: what it prints and writes, and what leaves no file behind."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minissr import export
from minissr.data.synthetic import draw_faces
from minissr.exporting import check as checking
from tests.doors.conftest import Run

onnx = pytest.importorskip("onnx", reason="onnx writes the files: pip install 'minissr[onnx]'")

FEW = ("--faces", 3, "--slow-faces", 1)


def test_a_file_is_checked_and_written(trained: Path, tmp_path: Path, call: Run) -> None:
    target = tmp_path / "age.onnx"
    code, out, _ = call(export, trained, "--onnx", target, "--input", "float32", *FEW)
    assert code == 0
    assert out.count("check    ") == 3
    assert "onnx.reference" in out
    assert f"wrote    {target}, {target.stat().st_size:,} bytes" in out
    told = {entry.key: entry.value for entry in onnx.load(target).metadata_props}
    assert told["licence"].startswith("not stated")
    assert len(told["checkpoint_sha256"]) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["age.onnx"]


def lying(model: bytes) -> Any:
    """A runtime that is off by a hundredth of a year for one face."""
    run = checking.onnx_reference(model)
    return lambda faces: run(faces) + 0.01 * (np.arange(len(faces)) == 1)[:, None]


def broken(model: bytes) -> Any:
    raise RuntimeError("unsupported\noperator")


@pytest.mark.parametrize("runtime", [lying, broken])
def test_a_failed_check_leaves_no_file(
    trained: Path, tmp_path: Path, call: Run, monkeypatch: pytest.MonkeyPatch, runtime: Any
) -> None:
    monkeypatch.setattr(checking, "RUNTIMES", (("Liar", "onnx", runtime, False),))
    code, out, err = call(export, trained, "--onnx", tmp_path / "age.onnx", *FEW)
    assert code == 2
    assert "MORE THAN 0.001" in out or "can't run the file: unsupported operator" in out
    assert f"age.onnx was not written: Liar {onnx.__version__} should give" in err
    assert not list(tmp_path.iterdir())


def test_a_target_that_can_not_be_written(trained: Path, tmp_path: Path, call: Run) -> None:
    """It is said before anything is computed."""
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    for option in ("--onnx", "--small"):
        for target in (tmp_path / "no" / "x.safetensors", folder):
            code, out, err = call(export, trained, option, target, *FEW)
            assert code == 3
            assert err.startswith(f"minissr: could not write {target}")
            assert not out
    assert list(tmp_path.iterdir()) == [folder]


def test_what_was_there_survives_a_failed_check(
    trained: Path, tmp_path: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "age.onnx"
    target.write_text("precious")
    monkeypatch.setattr(checking, "RUNTIMES", (("Liar", "onnx", lying, False),))
    assert call(export, trained, "--onnx", target, *FEW)[0] == 2
    assert target.read_text() == "precious"


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Let importing `missing` fail."""
    real = builtins.__import__

    def guarded(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.split(".")[0] == missing:
            raise ImportError(f"No module named {missing!r}")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", guarded)


def test_without_onnx_there_is_a_sentence(
    trained: Path, tmp_path: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "onnx")
    code, _, err = call(export, trained, "--onnx", tmp_path / "age.onnx", *FEW)
    assert code == 2
    assert "pip install 'minissr[onnx]'" in err
    assert call(export, trained, "--small", tmp_path / "x.safetensors")[0] == 0  # needs no onnx


def test_a_missing_runtime_is_said_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "onnxruntime")
    faces = draw_faces(1, stream="test")[0]
    (line,) = [c for c in checking.check(b"", faces, np.zeros(1)) if "Runtime" in c.runtime]
    assert line.passed
    assert "not installed, so not checked: pip install onnxruntime" in str(line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a file with --onnx or --small"),
        (("--onnx", "x", "--faces", "0"), "--faces 0; expected a whole number above 0"),
        (("--onnx", "x", "--slow-faces", "-1"), "--slow-faces -1; expected"),
        (("--onnx", "x", "--data", "nowhere"), "nowhere"),
        (("--small", "x.safetensors", "--dtype", "int4"), "--dtype"),
    ],
)
def test_bad_arguments(
    trained: Path, call: Run, arguments: tuple[str, ...], says: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = call(export, trained, *arguments)
    assert code == 2
    assert says in err
    assert not list(tmp_path.iterdir())
