"""How far a training is, and the two checkpoints it leaves.

`last.safetensors` holds what the next step depends on (parameters, moving statistics, optimiser,
the average over steps where there is one) and what the next line of metrics depends on (the running
training error, the history). All other things a step needs follow from the seed and the position:
the order of faces and their augmentation from (seed, epoch), dropout masks from (seed, step), the
learning rate from the step.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minissr.errors import CheckpointError, MinissrError
from minissr.kernels.backend import array_module
from minissr.nn.module import Module, faults
from minissr.training.average import Average
from minissr.training.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from minissr.training.files import write_text
from minissr.training.optim import Optimizer

# Sections of a checkpoint: the network, and in `last` its moving average over steps.
MODEL, AVERAGE = "model", "average"

# What differs between two equal runs, and is therefore not kept in checkpoints.
CLOCK = ("seconds", "images_per_s")


DIGITS = 4  # decimals of the best epoch's error


@dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    epoch, batch, step : int
        Finished epochs; finished batches of the present one; steps in all.
    images : int
        Training images seen in the present epoch.
    error_sum : float
        Sum of their absolute errors, in years.
    best : dict or None
        `epoch` and `val_mae` of the best epoch, the latter to DIGITS decimals of a year.
    history : list of dict
        The lines of metrics.jsonl; those of this process with times, others without.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    images: int = 0
    error_sum: float = 0.0
    best: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def train_mae(self) -> float:
        """MAE over the present epoch's training images, each measured when it was learnt from."""
        return self.error_sum / max(1, self.images)

    def count_batch(self, mae: float, images: int) -> None:
        """Note a finished step. Raises MinissrError if training has diverged."""
        if not math.isfinite(mae):
            raise MinissrError(
                f"the training error became {mae} at step {self.step + 1}; "
                "start again with a lower --lr"
            )
        self.batch += 1
        self.step += 1
        self.images += images
        self.error_sum += mae * images

    def finish_epoch(self, record: dict[str, Any]) -> bool:
        """Note a finished epoch and its line of metrics; whether it is the best so far."""
        if not math.isfinite(record["val_mae"]):
            raise MinissrError(
                f"the validation error became {record['val_mae']} in epoch {record['epoch']}; "
                "start again with a lower --lr"
            )
        self.history.append(record)
        self.epoch += 1
        self.batch = self.images = 0
        self.error_sum = 0.0
        # The figure goes into the checkpoint, whose bytes should not change with the order in which
        # some later inference kernel adds up an age.
        error = round(record["val_mae"], DIGITS)
        if self.best is not None and error >= self.best["val_mae"]:
            return False
        self.best = {"epoch": record["epoch"], "val_mae": error}
        return True

    def to_json(self) -> dict[str, Any]:
        """Everything but the clock, as plain JSON values."""
        history = [{k: v for k, v in r.items() if k not in CLOCK} for r in self.history]
        return {**dataclasses.asdict(self), "history": history}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Progress:
        """The inverse of `to_json`, with the clock unknown."""
        history = [{**r, **dict.fromkeys(CLOCK)} for r in record["history"]]
        return cls(**{**record, "history": history})


def save_last(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    average: Average | None,
    progress: Progress,
    about: Mapping[str, Any],
) -> None:
    """Write everything that is needed to go on bit for bit; `about` is what never changes."""
    tensors = named(MODEL, model.state_dict()) | named("optimizer", optimizer.state_dict())
    if average is not None:
        tensors |= named(AVERAGE, average.state_dict())
    save_checkpoint(path, tensors, {**about, "progress": progress.to_json()})


def save_best(path: Path, model: Module, progress: Progress, about: Mapping[str, Any]) -> None:
    """Write the network alone, with the epoch it is of."""
    save_checkpoint(path, named(MODEL, model.state_dict()), {**about, "best": progress.best})


def named(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def restore(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    average: Average | None,
    about: Mapping[str, Any],
) -> tuple[Progress, str | None]:
    """Put model, optimiser and average where `save_last` found them.

    Returns how far that is, and the digest of the weights that the run once started from.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged, or belongs to other data or another configuration.
    """
    checkpoint = read_checkpoint(path)
    # Compared as JSON, in which tuples and lists are the same.
    mine = json.loads(json.dumps(about))
    for key, what in (
        ("training", "another configuration; restore the run's config.json"),
        ("data", "other data; give the data it was started with"),
        ("model", "another network; restore the run's config.json"),
    ):
        if checkpoint.metadata.get(key) != mine[key]:
            raise CheckpointError(
                f"{path} belongs to {what}, or start a new run with --init {path}"
            )
    load_weights(path, checkpoint, model, MODEL)
    try:
        optimizer.load_state_dict(checkpoint.section("optimizer"))
        if average is not None:
            average.load_state_dict(checkpoint.section(AVERAGE))
        return Progress.from_json(checkpoint.metadata["progress"]), checkpoint.metadata["init"]
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds no training to resume ({error}); start a new run with --init {path}"
        ) from error


def load_weights(
    path: Path, checkpoint: Checkpoint, model: Module, section: str | None = None
) -> None:
    """Copy a checkpoint's network into `model`; CheckpointError naming all that doesn't fit.

    So are arrays that no network can compute with (`faults`).

    `section` is where in the file it lies; by default the average over steps, if one was kept,
    because that is what was measured.
    """
    section = section or (AVERAGE if checkpoint.section(AVERAGE) else MODEL)
    arrays = checkpoint.section(section)
    if found := faults(arrays):
        raise CheckpointError(
            f"{path}: {'; '.join(found)}; use another copy of it or train again with a lower --lr"
        )
    xp = array_module(next(model.parameters()).data)
    try:
        model.load_state_dict({name: xp.asarray(array) for name, array in arrays.items()})
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: {error}; choose the --model and --set it was trained with"
        ) from error


def write_metrics(path: Path, history: list[dict[str, Any]]) -> None:
    """Write metrics.jsonl, a line an epoch."""
    write_text(path, "".join(json.dumps(record) + "\n" for record in history))


def recall_times(path: Path, history: list[dict[str, Any]]) -> None:
    """Put the times in an existing metrics.jsonl back into a resumed run's history."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        times = {line["epoch"]: {key: line[key] for key in CLOCK} for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return  # they are for people to look at; a run goes on without
    for record in history:
        record |= times.get(record["epoch"], {})
