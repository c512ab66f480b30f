"""Statistics, and the report of a stored results file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report, results
from benchmarks.goals import goals
from benchmarks.results import SCHEMA
from benchmarks.statistics import quantile, ratios, spread
from benchmarks.tables import tables
from minissr import cli

ABOUT: dict[str, Any] = {
    "date": "2026-01-01 00:00 UTC",
    "command": "python -m benchmarks.run",
    "commit": "abc",
    "machine": {
        "processor": "P", "cores": 2, "memory_gib": 8.0, "system": "Linux", "python": "3.11"
    },
    "versions": {"numpy": "2.0"},
    "load": 0.5,
    "rounds": 7,
    "threads": 2,
    "quick": False,
}  # fmt: skip


def row(peer: str, label: str, seconds: list[float], **check: Any) -> dict[str, Any]:
    return {
        "peer": peer, "label": label, "status": "ok", "seconds": seconds,
        "check": {"right": True, **check},
    }  # fmt: skip


def stored() -> dict[str, Any]:
    """A results file of round numbers."""
    training = {
        **ABOUT,
        "task": "training",
        "batch": 50,
        "flops_per_image": {"whole": 1e9, "needed": 1e9},
        "peak_gflops": [1000.0, 1000.0, 1000.0],
        "rows": [
            row("minissr", "minissr", [0.1, 0.1, 0.2], gradient=1e-6, loss=1e-7),
            row("torch", "PyTorch eager", [0.4, 0.5, 0.6], gradient=1e-4, loss=1e-7),
            row("jax", "JAX jit", [0.2, 0.25, 0.6], gradient=1e-4, loss=1e-7),
            {
                "peer": "keras", "label": "Keras", "status": "missing",
                "install": "pip install tensorflow-cpu",
            },
        ],
    }  # fmt: skip
    images = {**ABOUT, "rows": [{"images": 1000, "seconds_per_image": [1e-3], "resident": 2**28}]}
    return {"schema": SCHEMA, "parts": {"training/50": training, "images": images}}


def test_quartiles_lie_between_neighbours() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    found = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high, found.best, found.count) == (2, 3, 4, 1, 5)
    assert spread([7.0]).low == spread([7.0]).high == 7
    with pytest.raises(ValueError, match="no measurements"):
        spread([])


def test_ratios_are_of_the_same_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="2 and 1 rounds"):
        ratios([1.0, 2.0], [1.0])


def test_goals_are_judged_beside_the_fastest() -> None:
    speed, share = goals(stored()["parts"])
    assert "JAX jit" in speed.what
    assert (speed.seen, speed.reached) == ("2.50 times", False)
    # 50 GFLOP in 0.1 s of a 1000 GFLOP/s machine.
    assert (share.seen, share.reached) == ("50%", True)


def test_tables_hold_the_slow_and_the_missing() -> None:
    text = tables(stored()["parts"])
    assert "| **minissr** | 100.0 (100.0 to 150.0) | 500 | 50% |" in text
    assert "| JAX jit | 250.0 (225.0 to 425.0) | 200 | 20% | 2.50 times as fast |" in text
    assert "not installed: `pip install tensorflow-cpu`" in text
    assert "| 1,000 | 1000 | 1,000 | 256 MiB |" in text
    assert "**no**" in text


def test_the_readme_holds_the_tables_of_the_newest_results() -> None:
    path = report.newest()
    assert tables(results.read(path)["parts"]) in report.README.read_text()


def test_winograd_is_told_of_where_it_was_used() -> None:
    """By what a part counts as needed; parts of two revisions may lie in one file."""
    direct = stored()["parts"]["training/50"]
    direct["flops_per_image"] = {"whole": 34.2e6, "needed": 31.8e6}
    by_formula = {**direct, "batch": 64, "flops_per_image": {"whole": 34.2e6, "needed": 19.9e6}}
    before, after = tables({"inference/50": direct}), tables({"inference/64": by_formula})
    assert "counts only what it computes" in before
    assert "Winograd" not in before
    assert "Winograd" in after
    assert "counts only what it computes" not in after
    both = tables({"inference/50": direct, "inference/64": by_formula})
    assert "Batch 50: minissr leaves out rows and columns that no later layer reads; its" in both
    assert "Batch 64: minissr leaves out rows and columns that no later layer reads, and" in both
    later = results.RESULTS / "changes" / "2026-11-29-inference.json"
    assert "Winograd" in tables(results.read(later)["parts"])


def broken(change: str) -> str:
    """A results file that is right but for one thing."""
    record = stored()
    part = record["parts"]["training/50"]
    if change == "no parts":
        record["parts"] = []
    elif change == "no part":
        record["parts"]["training/50"] = None
    elif change == "no machine":
        del part["machine"]
    elif change == "no rows":
        del part["rows"]
    elif change == "no rounds":
        part["peak_gflops"] = []
    else:
        part["rows"][0]["seconds"] = [0, 0, 0]
    return json.dumps(record)


def test_the_readme_is_written_between_its_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, readme = tmp_path / "2026-01-01.json", tmp_path / "README.md"
    path.write_text(json.dumps(stored()))
    readme.write_text(f"Above.\n\n{report.BEGIN}\nold\n{report.END}\n\nBelow.\n")
    arguments = [str(path), "--readme", str(readme)]
    assert cli.run(lambda: report.main(arguments)) == 0
    first = readme.read_text()
    assert first.startswith("Above.\n")
    assert first.endswith("\nBelow.\n")
    assert "old" not in first
    assert "![speed](speed.svg)" in first
    picture = (tmp_path / "speed.svg").read_bytes()
    assert b"PyTorch eager" in picture
    assert cli.run(lambda: report.main(arguments)) == 0
    assert readme.read_text() == first
    assert (tmp_path / "speed.svg").read_bytes() == picture
    assert "2 parts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        ("{", "is not JSON"),
        ("{}", "no results file of this version"),
        (broken("no parts"), "lacks or garbles a part"),
        (broken("no part"), "lacks or garbles a part"),
        (broken("no machine"), "lacks or garbles a part"),
        (broken("no rows"), "lacks or garbles a part"),
        (broken("no rounds"), "lacks or garbles a part"),
        (broken("no time"), "lacks or garbles a part"),
    ],
)
def test_what_is_no_results_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, says: str
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    readme = tmp_path / "README.md"
    assert cli.run(lambda: report.main([str(path), "--readme", str(readme)])) == 2
    assert not readme.exists()
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
