"""The folder of one training run: who may write to it, and what is in it.

    config.json        everything the run was told, resolved; written first
    metrics.jsonl      one line an epoch
    last.safetensors   everything needed to go on bit for bit
    best.safetensors   the network of the epoch with the lowest validation MAE
    curves.png  health.png  report.md
    trace.json         of the steps that --profile watched

A lock (`flock` on the file `.lock`) keeps a second process out for as long as the first one lives;
the system lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from minissr.errors import CheckpointError, DiskError, RunInUseError
from minissr.training.files import remove_leftovers, write_text

RUNS = Path("runs")


class RunDirectory:
    """A locked run directory; a context manager that unlocks at the end.

    Attributes
    ----------
    path : Path
    fresh : bool
        Whether this process made the run (rather than resuming one).
    """

    def __init__(self, path: Path, lock: int, *, fresh: bool) -> None:
        self.path = path
        self.fresh = fresh
        self._lock = lock
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.last = path / "last.safetensors"
        self.best = path / "best.safetensors"
        self.curves = path / "curves.png"
        self.health = path / "health.png"
        self.report = path / "report.md"
        self.trace = path / "trace.json"

    @classmethod
    def create(cls, path: str | os.PathLike[str] | None, config: Mapping[str, Any]) -> RunDirectory:
        """A new run in `path`, or in `runs/DATE-N` if that is None. Writes `config.json`.

        Raises
        ------
        RunInUseError
            If the folder holds a run or another process is using it.
        DiskError
            If it can't be made or written.
        """
        folder = next_folder() if path is None else make_folder(Path(path))
        lock = take_lock(folder)
        run = cls(folder, lock, fresh=True)
        try:
            if run.config.exists() or run.last.exists():
                raise RunInUseError(
                    f"{folder} already holds a run; go on with it: --resume {folder}, "
                    "or choose another --out"
                )
            remove_leftovers(folder)
            write_text(run.config, json.dumps(config, indent=2) + "\n")
        except BaseException:
            os.close(lock)
            raise
        return run

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """The existing run in `path`.

        Raises
        ------
        CheckpointError
            If there is no run.
        RunInUseError
            If another process is using it.
        """
        folder = Path(path)
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} holds no run to resume (no config.json); start one: --out {folder}"
            )
        run = cls(folder, take_lock(folder), fresh=False)
        remove_leftovers(folder)
        return run

    def discard(self) -> None:
        """Take back a run that could not even begin, so that its name is free again."""
        self.config.unlink(missing_ok=True)
        (self.path / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()  # unless something else is in it

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._lock)


def next_folder() -> Path:
    """Make and return `runs/DATE-N` with the first free N."""
    date = datetime.date.today().isoformat()
    make_folder(RUNS)
    for n in range(1, 10_000):
        folder = RUNS / f"{date}-{n}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise DiskError(f"{RUNS} holds {n} runs of today; choose a folder with --out")


def make_folder(folder: Path) -> Path:
    """Make `folder` unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DiskError(f"{folder} is a file; choose another folder with --out") from None
    except OSError as error:
        raise DiskError(_refused(folder, error)) from error
    return folder


def take_lock(folder: Path) -> int:
    """Lock a run directory for this process; returns the descriptor that holds the lock."""
    import fcntl

    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DiskError(_refused(folder, error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RunInUseError(
            f"{folder} is in use by another process; wait for it or choose another --out"
        ) from None
    return descriptor


def _refused(folder: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{folder} can't be written: {reason}; choose another folder with --out"
