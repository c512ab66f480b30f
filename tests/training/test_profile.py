"""The profile of training steps: whose time it is, what was counted, and the trace."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minissr.kernels.backend import use_backend
from minissr.models.registry import build
from minissr.models.summary import trace
from minissr.nn.module import composed
from minissr.training.optim import Adam
from minissr.training.profile import WARM_UP, Profile, rows_of, table, write_trace
from minissr.training.state import Progress
from tests.training.tiny import TINY, run_train

BATCH = 4


def profiled(steps: int = 1, warm_up: int = 0) -> tuple[Profile, Any]:
    """Some steps of a small network on NumPy, watched."""
    model: Any = build("ssrnet", filters_s=2, filters_x=4, compact=2)
    optimizer = Adam(model.parameters())
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 64, 64, 3), np.uint8)
    ages = np.float32([5, 20, 40, 80])
    profile = Profile(warm_up, watched=2)
    with use_backend("numpy"):
        for _ in range(steps):
            with profile.step():
                model.zero_grad()
                loss, _ = model.loss(images, ages, rng=rng)
                loss.backward()
                optimizer.step()
    return profile, model


def macs(model: Any) -> tuple[float, float]:
    """Multiply-adds of all layers for the batch, and those of the first convolutions."""
    with use_backend("numpy"), composed():
        rows = trace(model, np.zeros((1, 64, 64, 3), np.uint8))
    first = ("streams.s.0.conv", "streams.x.0.conv")
    return (
        BATCH * sum(row.macs for row in rows),
        BATCH * sum(row.macs for row in rows if row.name in first),
    )


def test_operations_are_those_of_the_layers() -> None:
    profile, model = profiled()
    rows = rows_of(profile.steps)
    whole, first = macs(model)
    assert sum(row.flops for row in rows) == 2 * whole
    # Backward: weights and inputs, but nobody wants the gradient of pixels.
    assert sum(row.backward_flops for row in rows) == 2 * (2 * whole - first)


def test_every_op_with_a_gradient_has_its_own_backward() -> None:
    profile, _ = profiled()
    (step,) = profile.steps
    for call in step.calls:
        assert call.backward is not None, call.op
        assert step.start <= call.forward[0] <= call.forward[1]
        assert call.forward[1] <= call.backward[0] <= call.backward[1] <= step.stop
    # What ran forward first runs backward last.
    begun = [call.backward[0] for call in step.calls if call.backward]
    assert begun == sorted(begun, reverse=True)


def test_bytes_are_those_of_the_arrays() -> None:
    profile, _ = profiled()
    (stem,) = (call for call in profile.steps[0].calls if call.op == "Stem")
    images, maps = BATCH * 64 * 64 * 3, BATCH * 31 * 31 * (4 + 2) * 4
    parameters = 4 * sum(27 * filters + 3 * filters for filters in (4, 2))
    assert stem.bytes == images + maps + parameters
    assert stem.backward_bytes == stem.bytes + parameters


def test_only_the_steps_after_the_warm_up_are_watched() -> None:
    assert len(profiled(steps=2, warm_up=2)[0].steps) == 0
    assert len(profiled(steps=5, warm_up=2)[0].steps) == 2
    words = table(profiled(steps=1, warm_up=3)[0])
    assert "nothing was watched" in words
    assert "3 steps" in words


def test_the_table_tells_each_op_and_the_whole() -> None:
    profile, _ = profiled(steps=2)
    lines = table(profile).splitlines()
    assert lines[0].startswith("profile of 2 training steps, after 0")
    assert any(line.startswith("Block") and "4x31x31x4, 3x3x4x4" in line for line in lines)
    shares = [line.split()[-1] for line in lines if line.endswith("%")]
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=2)
    assert any("GFLOP/s" in line for line in lines if line.startswith("whole step"))


def test_the_trace_has_every_call_inside_its_step(tmp_path: Path) -> None:
    profile, _ = profiled(steps=2)
    write_trace(profile, tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    steps = [event for event in events if event["cat"] == "step"]
    calls = [event for event in events if event["cat"] in ("forward", "backward")]
    assert len(steps) == 2
    assert len(calls) == 2 * sum(len(step.calls) for step in profile.steps)
    for event in events:
        assert event["ph"] == "X"
        assert event["dur"] >= 0
    for call in calls:
        ends = call["ts"] + call["dur"]
        inside = [s for s in steps if s["ts"] <= call["ts"] and ends <= s["ts"] + s["dur"] + 0.01]
        assert len(inside) == 1


def test_the_command_prints_it_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_train(*TINY, "--out", str(tmp_path / "plain")) == 0
    assert "profile" not in capsys.readouterr().out
    assert run_train(*TINY, "--profile", "--out", str(tmp_path / "watched")) == 0
    printed = capsys.readouterr().out
    assert "profile of 1 training step, after 5 to warm up" in printed
    assert str(tmp_path / "watched" / "trace.json") in printed
    events = json.loads((tmp_path / "watched" / "trace.json").read_text())["traceEvents"]
    assert {"Stem", "Stem backward", "optimiser"} <= {event["name"] for event in events}
    plain, watched = ((tmp_path / run / "last.safetensors") for run in ("plain", "watched"))
    assert plain.read_bytes() == watched.read_bytes()
    assert not (tmp_path / "plain" / "trace.json").exists()


def test_an_interrupted_run_tells_what_was_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Progress.count_batch

    def and_interrupt(progress: Progress, *figures: Any) -> None:
        count(progress, *figures)
        if progress.step == WARM_UP + 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "count_batch", and_interrupt)
    run = tmp_path / "run"
    assert run_train(*TINY, "--epochs", "9", "--profile", "--out", str(run)) == 130
    told = capsys.readouterr()
    assert "profile of 2 training steps, after 5 to warm up" in told.out
    assert f"--resume {run}" in told.err
    assert (run / "trace.json").exists()
