"""Start-up: the first run ever, on an empty cache of compiled kernels, and later ones."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.probe import FIRST_STEP
from benchmarks.suites import Setup
from minissr.errors import MinissrError


def measure(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """Seconds of `predict` to its end, and of `train` to its first step and to its end."""
    import cv2

    with tempfile.TemporaryDirectory(prefix="minissr-start-") as name:
        folder = Path(name)
        picture, run = str(folder / "face.png"), str(folder / "run")
        cv2.imwrite(picture, np.ascontiguousarray(setup.workload.images(1)[0][..., ::-1]))
        setup.say("start-up: a network to predict with")
        python(training(run), setup, None)
        predicting = ["-m", "minissr.predict", picture, "--weights", run]
        first, cached = {}, {}
        for what, command in (("predict", predicting), ("train", None)):
            setup.say(f"start-up of {what}, first run ever")
            empty = folder / f"empty-{what}"
            command = command or training(str(folder / "first"))
            first[what] = python(command, setup, empty)
            cached[what] = []
            for number in range(setup.rounds):
                if what == "train":
                    command = training(str(folder / f"again-{number}"))
                cached[what].append(python(command, setup, empty))
        imports = [python(["-c", "import minissr"], setup, None) for _ in range(setup.rounds)]
    yield "startup", setup.part(first=first, cached=cached, imports=imports)


def training(run: str) -> list[str]:
    """`train` on as little as possible, through a probe that says when the first step is done."""
    few = [f"{split}_images=100" for split in ("train", "val", "test")]
    sets = [word for setting in few for word in ("--set", setting)]
    return ["-m", "benchmarks.probe", "--epochs", "1", "--out", run, *sets]


def python(arguments: list[str], setup: Setup, cache: Path | None) -> dict[str, float]:
    """Seconds to the end of a command, and to its first training step where there is one."""
    environment = machine.environment(setup.threads)
    if cache is not None:
        environment["MINISSR_CACHE"] = str(cache)
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=machine.ROOT,
        env=environment,
    ) as process:
        found = {}
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if FIRST_STEP in line:  # a progress bar may stand before it
                found["first_step"] = time.perf_counter() - started
    if process.returncode:
        raise MinissrError(f"{' '.join(arguments)} failed: {(lines or ['?'])[-1].strip()}")
    return {"whole": time.perf_counter() - started, **found}
