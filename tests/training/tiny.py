"""Training so small that a test can afford it: few faces, a network of 1,135 numbers, NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from minissr import cli, train
from tests.conftest import ROOT

FACES = {"train_images": 22, "val_images": 6, "test_images": 6}
NETWORK = {"filters_s": 2, "filters_x": 2, "compact": 2}
SETTINGS = [f"--set={key}={value}" for key, value in {**FACES, **NETWORK}.items()]
TINY = ["--backend", "numpy", "--batch-size", "8", "--epochs", "2", *SETTINGS]
STEPS = 3  # of an epoch


def run_train(*arguments: str) -> int:
    """The exit code of the train command, in this process."""
    return cli.run(lambda: train.main(arguments))


def start_train(*arguments: str, script: str | None = None) -> subprocess.Popen[str]:
    """The train command in a process of its own; `script` runs first in it."""
    code = f"{script or ''}\nimport sys\nfrom minissr import cli, train\n"
    code += f"sys.exit(cli.run(lambda: train.main({list(arguments)!r})))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the clock's part."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "images_per_s")
    return [{k: v for k, v in line.items() if k not in clock} for line in lines]
