"""A whole epoch of the training loop: loading, augmentation, steps; no validation."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workload import Workload
from minissr.data.faces import FaceSet
from minissr.data.loader import Batches
from minissr.training.config import TrainConfig
from minissr.training.loop import train_epoch
from minissr.training.progress import Bar
from minissr.training.rundir import RunDirectory
from minissr.training.session import open_session
from minissr.training.signals import StopRequest


class Epoch:
    """See `peers`; a task's `batch` is the number of images."""

    def __init__(self, workload: Workload, threads: int) -> None:
        self.images, self.ages = workload.faces["images"], workload.faces["ages"]
        counts = {f"{split}_images": 200 for split in ("train", "val", "test")}
        config = TrainConfig(threads=threads, data_settings=counts).resolved()
        self.folder = tempfile.TemporaryDirectory(prefix="minissr-epoch-")
        run = RunDirectory.create(Path(self.folder.name) / "run", config.to_json())
        self.session = open_session(config, run, StopRequest(""))

    def epoch(self, batch: int) -> Callable[[], Any]:
        def run() -> None:
            self.seconds(batch)

        return run

    def seconds(self, count: int) -> float:
        """Of an epoch of `count` faces, the workload's over and over."""
        rows = np.arange(count) % len(self.images)
        faces = FaceSet(self.images[rows], self.ages[rows], {})
        session, progress = self.session, self.session.progress
        session.batches = Batches(
            faces, session.config.batch_size, seed=0, augment=session.batches.augment
        )
        progress.batch = progress.images = 0
        with Bar(count) as bar:
            started = time.perf_counter()
            train_epoch(session, bar)
            return time.perf_counter() - started


def open(workload: Workload, flavour: str, threads: int) -> Epoch:
    return Epoch(workload, threads)
