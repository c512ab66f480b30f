"""What is stored of the ablation: its report and pictures are those of its rows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from minissr.reproduce import main
from tests.conftest import ROOT

STORED = ROOT / "benchmarks" / "results" / "ablation"


def test_the_report_is_that_of_the_rows(tmp_path: Path) -> None:
    stored = (STORED / "report.md").read_text("utf-8")
    command = re.search(r"^    python -m minissr.reproduce (.*)$", stored, re.MULTILINE)
    assert command
    rows = ["--rows", str(STORED / "rows.jsonl"), "--report-only"]
    told = [*shlex.split(command[1]), *rows]
    told[told.index("--out") + 1] = str(tmp_path)
    assert main(told) == 0
    fresh = (tmp_path / "report.md").read_text("utf-8")
    without = re.compile(r"^    python -m .*$", re.MULTILINE)  # --out and --rows differ
    assert without.sub("", fresh) == without.sub("", stored)
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in STORED.iterdir() if path.name != "rows.jsonl"
    }
