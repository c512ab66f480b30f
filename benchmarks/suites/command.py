"""The whole `train` command beside the bare step: what loading, augmentation and logging cost."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.interleave import Contestant, Process, take_turns
from benchmarks.peers import BY_NAME
from benchmarks.suites import Setup
from minissr.errors import MinissrError

EPOCHS, IMAGES = 4, 5000


def measure(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """Images/s of every epoch of some runs, with the bare step's rate before and after each."""
    batch = 50
    epochs, images = (2, 300) if setup.quick else (EPOCHS, IMAGES)
    process = Process(BY_NAME["minissr"], setup.workload, setup.threads)
    step = Contestant(BY_NAME["minissr"], "training", batch, process, {"status": "ok"})
    runs = []
    try:
        process.ask("prepare", task="training", batch=batch)
        take_turns([step], 1, setup.seconds, setup.say)
        for number in range(min(setup.rounds, 3)):
            setup.say(f"python -m minissr.train, run {number + 1}")
            runs.append(train(setup, batch, epochs, images))
            take_turns([step], 1, setup.seconds, setup.say)
    finally:
        process.close()
    yield (
        "command",
        setup.part(batch=batch, images=images, step_seconds=step.row["seconds"], runs=runs),
    )


def train(setup: Setup, batch: int, epochs: int, images: int) -> dict[str, Any]:
    """Run the command; images/s of each epoch as it logs them, and seconds of each epoch."""
    with tempfile.TemporaryDirectory(prefix="minissr-train-") as folder:
        run = Path(folder) / "run"
        done = subprocess.run(
            [
                sys.executable, "-m", "minissr.train", "--out", str(run),
                "--epochs", str(epochs), "--batch-size", str(batch),
                "--threads", str(setup.threads), "--set", f"train_images={images}",
                "--set", "val_images=500", "--set", "test_images=500",
            ],
            capture_output=True,
            text=True,
            cwd=machine.ROOT,
            env=machine.environment(setup.threads),
        )  # fmt: skip
        if done.returncode:
            raise MinissrError(f"minissr.train failed: {done.stderr.strip().splitlines()[-1]}")
        lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {
        "images_per_s": [record["images_per_s"] for record in records],
        "seconds": [record["seconds"] for record in records],
    }
