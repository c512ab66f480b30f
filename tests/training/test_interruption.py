"""Runs that end before they are done: by kill -9, a signal, a full disk, a second process."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from minissr import cli
from minissr.training import figures, files
from minissr.training.checkpoint import read_checkpoint
from minissr.training.network import load_network
from minissr.training.progress import Bar
from tests.conftest import examples
from tests.training.tiny import STEPS, TINY, metrics_of, run_train, start_train

KILLS = examples(quick=3, thorough=20)
# Slow enough to be hit in the middle: a pause after each step, and a save at each.
PAUSED = """
import time
from minissr.training import state, figures
figures.png = lambda figure: b"not drawn"
count = state.Progress.count_batch
def slowly(progress, mae, images):
    count(progress, mae, images)
    time.sleep({pause})
state.Progress.count_batch = slowly
"""
LONG = [*TINY, "--epochs", str(examples(quick=5, thorough=20)), "--checkpoint-every", "0"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody interrupted."""
    run = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", lambda figure: b"not drawn")
        assert run_train(*LONG, "--out", str(run)) == 0
    return run


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Until `condition()` holds; fails if the process ends or time runs out first."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_killed_at_random_moments_the_end_is_the_same(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    rng = np.random.default_rng(KILLS)
    arguments = [*LONG, "--out", str(run)]
    killed = 0
    for _ in range(KILLS):
        process = start_train(*arguments, script=PAUSED.format(pause=0.1))
        wait_for(lambda: (run / "config.json").exists(), process)
        # From importing and opening the data over steps and saves to validation.
        time.sleep(rng.uniform(0.0, 2.5))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        arguments = ["--resume", str(run)]
    assert killed > KILLS / 2
    assert run_train("--resume", str(run)) == 0
    assert (run / "last.safetensors").read_bytes() == (
        undisturbed / "last.safetensors"
    ).read_bytes()
    assert (run / "best.safetensors").read_bytes() == (
        undisturbed / "best.safetensors"
    ).read_bytes()
    assert metrics_of(run) == metrics_of(undisturbed)
    assert not list(run.glob(".*.tmp"))


def test_killed_before_any_file_gets_its_name_the_end_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as between the metrics of an epoch, its best network and its last state."""
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")
    run = tmp_path / "run"
    replace, moments = os.replace, []

    def copying(source: str, target: str) -> None:
        moments.append(tmp_path / f"moment{len(moments)}")
        shutil.copytree(run, moments[-1])  # what a kill would leave
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", copying)
        assert run_train(*TINY, "--out", str(run)) == 0
    assert len(moments) > 10
    for moment in moments[1:]:  # before the first, config.json, there is no run
        assert run_train("--resume", str(moment)) == 0
        for name in ("last.safetensors", "best.safetensors"):
            assert (moment / name).read_bytes() == (run / name).read_bytes()
        assert metrics_of(moment) == metrics_of(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(tmp_path: Path, number: int) -> None:
    """The steps since the last epoch's end are saved, too."""
    run, marker = tmp_path / "run", tmp_path / "steps"
    slow = [*TINY, "--epochs", "50", "--checkpoint-every", "1000"]
    script = PAUSED.format(pause=0.1).replace(
        "time.sleep", f"print(progress.step, file=open({str(marker)!r}, 'a')); time.sleep"
    )
    process = start_train(*slow, "--out", str(run), script=script)
    taken = STEPS + 2  # in the middle of the second epoch
    wait_for(lambda: marker.exists() and len(marker.read_text().split()) >= taken, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    last_line = err.strip().splitlines()[-1]
    assert f"python -m minissr.train --resume {run}" in last_line
    assert "Traceback" not in err
    progress = read_checkpoint(run / "last.safetensors").metadata["progress"]
    assert progress["step"] >= taken
    assert progress["epoch"] == len(metrics_of(run))


def test_a_signal_while_nobody_looks_still_ends_the_run(tmp_path: Path) -> None:
    """As when kernels are being compiled: one step that takes a minute."""
    run = tmp_path / "run"
    process = start_train(*TINY, "--out", str(run), script=PAUSED.format(pause=60))
    wait_for(lambda: (run / "last.safetensors").exists(), process)
    time.sleep(0.5)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"--resume {run}" in err
    assert time.monotonic() - started < 20  # two seconds on an idle machine; never the minute
    assert load_network(run).about["progress"]["step"] == 0


def test_a_reader_that_leaves_ends_the_run_saved(tmp_path: Path) -> None:
    """As `train | head -1`."""
    run = tmp_path / "run"
    told = [*TINY, "--epochs", "50", "--checkpoint-every", "1000", "--out", str(run)]
    process = start_train(*told, script=PAUSED.format(pause=0.1))
    assert process.stdout
    assert process.stderr
    wait_for(lambda: (run / "last.safetensors").exists(), process)
    process.stdout.close()
    *_, last_line = process.stderr.read().strip().splitlines()
    assert last_line.startswith("minissr: standard output was closed; go on with: ")
    assert last_line.endswith(f"python -m minissr.train --resume {run}")
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    progress = read_checkpoint(run / "last.safetensors").metadata["progress"]
    assert 0 < progress["step"] < 50 * STEPS


def test_a_bar_that_nobody_sees_ends_the_run_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `train 2>&1 | head -1`: the bar finds out in the middle of an epoch."""
    run, steps = tmp_path / "run", []

    def advance(bar: Bar, *_: object) -> None:
        steps.append(bar)
        if len(steps) == STEPS + 2:
            raise BrokenPipeError(32, "broken pipe")

    monkeypatch.setattr(Bar, "advance", advance)
    monkeypatch.setattr(cli, "abandon_output", lambda: None)
    assert run_train(*TINY, "--out", str(run)) == 130
    assert f"--resume {run}" in capsys.readouterr().err
    assert read_checkpoint(run / "last.safetensors").metadata["progress"]["step"] == STEPS + 2


def test_two_processes_can_not_share_a_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start_train(*TINY, "--out", str(run), script=PAUSED.format(pause=60))
    wait_for(lambda: (run / "last.safetensors").exists(), first)
    before = (run / "last.safetensors").read_bytes()
    for arguments in (["--resume", str(run)], [*TINY, "--out", str(run)]):
        second = start_train(*arguments)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 4
        assert "in use by another process" in err
        assert err.count("\n") == 1
    assert (run / "last.safetensors").read_bytes() == before
    first.kill()
    first.communicate()


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = start_train(*TINY, "--out", str(run), script=PAUSED.format(pause=60))
    wait_for(lambda: (run / "last.safetensors").exists(), first)
    first.kill()
    first.communicate()
    with open(run / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_full_disk_ends_the_run_and_keeps_the_last_save(
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The disk fills up after the second save; made room, the run goes on as if nothing was."""
    run = tmp_path / "run"
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")
    write, saves = os.write, []

    def filling(descriptor: int, data: bytes) -> int:
        saves.append(len(data) > 10_000)
        if sum(saves) > 2:
            raise OSError(28, os.strerror(28))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", filling)
        assert run_train(*LONG, "--out", str(run)) == 3
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no space left on device" in err
    assert "is intact" in err
    assert f"--resume {run}" in err
    assert load_network(run).about["progress"]["step"] == 1
    assert not list(run.glob(".*.tmp"))
    assert run_train("--resume", str(run)) == 0
    assert (run / "last.safetensors").read_bytes() == (
        undisturbed / "last.safetensors"
    ).read_bytes()


def test_a_file_size_limit_at_the_start_is_a_sentence(tmp_path: Path) -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))"
    process = start_train(*TINY, "--out", str(tmp_path / "run"), script=script)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "could not write" in err
    assert "Traceback" not in err
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000


def test_a_damaged_checkpoint_is_not_resumed_and_not_overwritten(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        (run / name).write_bytes((undisturbed / name).read_bytes())
    damaged = bytearray((undisturbed / "last.safetensors").read_bytes())
    damaged[-1] ^= 1
    (run / "last.safetensors").write_bytes(damaged)
    assert run_train("--resume", str(run)) == 3
    assert "is damaged" in capsys.readouterr().err
    assert (run / "last.safetensors").read_bytes() == damaged
