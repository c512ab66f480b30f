"""Compiled kernels on disk: found again, shared by processes, never fatal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

cache = pytest.importorskip("minissr.kernels.cache", reason="needs Numba")
from tests.conftest import ROOT  # noqa: E402

# Two signatures of one function: what writers could mix up.
USE = """
import numpy as np
from minissr.kernels import lookup
for dtype in (np.float64, np.float32):
    p, g, m, v = (np.ones(33, dtype) for _ in range(4))
    lookup("adam_step", "numba")(p, g, m, v, 1, 0.1, 0.9, 0.999, 1e-7, "keras")
    print(p.dtype, p[-1])
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USE],
        cwd=ROOT,
        env={**os.environ, "MINISSR_CACHE": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output, errors


def test_processes_that_start_at_once_and_the_next_one(tmp_path: Path) -> None:
    first = [start(tmp_path) for _ in range(3)]
    answers = [finish(process) for process in first]
    assert len({output for output, _ in answers}) == 1
    for _, errors in answers:
        assert errors.count("compiling for this processor") == 1
        assert str(tmp_path) in errors
    again, errors = finish(start(tmp_path))
    assert again == answers[0][0]
    assert "compiling" not in errors


def test_damaged_files_are_compiled_again(tmp_path: Path) -> None:
    before, _ = finish(start(tmp_path))
    damaged = list(tmp_path.rglob("*.nbc")) + list(tmp_path.rglob("*.nbi"))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:50])
    after, errors = finish(start(tmp_path))
    assert after == before
    assert "compiling" in errors


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    output, errors = finish(start(tmp_path / "file"))
    assert output
    assert "can't be written" in errors
    assert "set MINISSR_CACHE" in errors


def test_a_changed_callee_starts_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "kernels"
    shutil.copytree(cache.KERNELS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "KERNELS", copied)
    digest = cache.digest.__wrapped__
    before = digest()
    with open(copied / "simd.py", "a") as file:
        file.write("# changed\n")
    assert digest() != before


def test_only_the_last_folders_are_kept(tmp_path: Path) -> None:
    for age in range(9):
        folder = tmp_path / f"kernels-{age}"
        folder.mkdir()
        os.utime(folder, (1e9 - age, 1e9 - age))
    cache.forget_old(tmp_path)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {f"kernels-{age}" for age in range(cache.FOLDERS_KEPT)}
