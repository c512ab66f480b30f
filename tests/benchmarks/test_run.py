"""What benchmarks.run refuses, and one tiny round of ours against NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import peers, results, run, workload
from benchmarks.interleave import Contestant, contestants, take_turns
from minissr import cli


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "speed"], "--only speed; expected some of training, inference"),
        (["--only", ","], "--only is empty"),
        (["--peers", "theano"], "--peers theano; expected some of minissr, torch"),
        (["--rounds", "0"], "--rounds 0; expected a whole number from 1 up"),
        (["--rounds", "many"], "--rounds many; expected"),
        (["--seconds", "0"], "--seconds 0; expected a number above 0"),
        (["--seconds", "nan"], "--seconds nan; expected a number above 0"),
        (["--threads", "4096"], "--threads 4096; this machine has"),
        (["--batches", "50,x"], "--batches x; expected"),
        (["--batches", "500"], "--batches 500; expected at most 128"),
        (["--faster"], "unrecognized arguments: --faster"),
    ],
)
def test_what_can_not_be_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert cli.run(lambda: run.main(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("minissr: ")
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_help_has_an_example() -> None:
    assert "python -m benchmarks.run --only" in run.build_parser().format_help()


def test_results_of_another_machine_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    part = {"machine": {"processor": "an abacus"}}
    path.write_text(json.dumps({"schema": results.SCHEMA, "parts": {"training/50": part}}))
    with pytest.raises(Exception, match=r"measured on an abacus.*choose another --out"):
        results.refuse_other_machine(path)


def test_a_part_replaces_its_older_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    one, two, three = ({"machine": {"processor": "x"}, "rows": rows} for rows in (1, 2, 3))
    results.merge(path, {"training/50": one, "images": two})
    results.merge(path, {"training/50": three})
    assert results.read(path)["parts"] == {"images": two, "training/50": three}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> workload.Workload:
    return workload.make(tmp_path_factory.mktemp("workload"), "minissr", (4,))


def test_ours_and_numpy_take_turns(small: workload.Workload) -> None:
    entries = [peers.BY_NAME[name] for name in ("minissr", "numpy")]
    tasks = [("training", 4), ("inference", 2)]
    with contestants(entries, tasks, small, 1, lambda words: None) as all_:
        take_turns(all_, 2, 0.0, lambda words: None)
        rows = [one.row for one in all_]
    assert [row["peer"] for row in rows] == ["minissr", "minissr", "numpy", "numpy"]
    for row in rows:
        assert row["status"] == "ok", row
        assert row["check"]["right"]
        assert len(row["seconds"]) == 2
        assert min(row["calls"]) >= 3


def test_who_computes_something_else_is_not_timed(small: workload.Workload) -> None:
    state = {name: array.copy() for name, array in small.state.items()}
    state["stages.0.prediction.p.w"] *= -1
    folder = small.folder.parent / "wrong"
    folder.mkdir()
    for file in ("config.json", "faces.npz", "expected.npz"):
        (folder / file).write_bytes((small.folder / file).read_bytes())
    np.savez(folder / "state.npz", **state)
    wrong = workload.Workload(folder)
    entries, tasks = [peers.BY_NAME["numpy"]], [("training", 4), ("inference", 2)]
    with contestants(entries, tasks, wrong, 1, lambda words: None) as all_:
        take_turns(all_, 1, 0.0, lambda words: None)
        assert [one.row["status"] for one in all_] == ["wrong", "wrong"]
        assert all("seconds" not in one.row for one in all_)


def test_a_missing_or_failing_peer_is_a_row(small: workload.Workload) -> None:
    absent = peers.Entry("x", "X", "x_peer", needs=("no_such_module",), install="pip install x")
    broken = peers.Entry("y", "Y", "no_such_peer")
    tasks = [("inference", 2)]
    with contestants([absent, broken], tasks, small, 1, lambda words: None) as all_:
        take_turns(all_, 1, 0.0, lambda words: None)
        first, second = (one.row for one in all_)
    assert (first["status"], first["install"]) == ("missing", "pip install x")
    assert second["status"] == "failed"
    assert "no_such_peer" in second["why"]


@pytest.mark.parametrize("peer", ["torch", "torch-channels-last", "jax", "keras"])
def test_the_frameworks_agree_with_us(small: workload.Workload, peer: str) -> None:
    entry = peers.BY_NAME[peer]
    if entry.missing():
        pytest.skip(f"needs {entry.install}")
    tasks = [("training", 4), ("inference", 2)]
    with contestants([entry], tasks, small, 1, lambda words: None) as all_:
        assert [one.row["status"] for one in all_] == ["ok", "ok"], [one.row for one in all_]


def test_a_round_that_somebody_disturbed_is_repeated() -> None:
    gauges = iter([1.0, 1.0, 1.0, 2.0, 1.0, 1.05])  # seconds before and after each of three rounds
    times = iter([10.0, 20.0, 30.0])

    class Answers:
        def __init__(self, numbers: Iterator[float]) -> None:
            self.numbers = numbers

        def ask(self, do: str, **request: Any) -> dict[str, float]:
            return {"seconds": next(self.numbers)}

    def one(task: str, numbers: Iterator[float]) -> Contestant:
        process: Any = Answers(numbers)
        return Contestant(peers.BY_NAME["numpy"], task, 1, process, {"status": "ok"})

    runner, gauge = one("inference", times), one("peak", gauges)
    assert take_turns([runner], 2, 0.0, lambda words: None, gauge) == 1
    assert runner.row["seconds"] == [10.0, 30.0]
