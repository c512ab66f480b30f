"""The process in which one peer is measured: `python -m benchmarks.worker NAME FOLDER THREADS`.

It answers requests, a JSON object a line, with a JSON object a line. What libraries print goes to
standard error, which the parent keeps for the case that something fails.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.workload import Workload

WARM_SECONDS = 0.15
FEWEST_CALLS = 3


class Worker:
    """One peer and what was prepared of it."""

    def __init__(self, module: str, flavour: str, folder: str, threads: int) -> None:
        self.workload = Workload(Path(folder))
        self.before = peak_memory()
        start = time.perf_counter()
        package = importlib.import_module(f"benchmarks.peers.{module}")
        self.peer: Any = package.open(self.workload, flavour, threads)
        self.import_seconds = time.perf_counter() - start
        self.ready: dict[tuple[str, int], Callable[[], Any]] = {}

    def check(self, task: str, batch: int) -> dict[str, Any]:
        """Whether the peer computes what it should."""
        if task == "training":
            return self.workload.check_gradients(batch, *self.peer.loss_and_gradients(batch))
        if task == "inference":
            return self.workload.check_ages(self.peer.inference(batch)())
        return self.peer.check(task, batch)

    def prepare(self, task: str, batch: int) -> dict[str, Any]:
        """Build what will be timed and call it once."""
        start = time.perf_counter()
        function = getattr(self.peer, task)(batch)
        function()
        self.ready[task, batch] = function
        return {"first_seconds": time.perf_counter() - start, "import_seconds": self.import_seconds}

    def time(self, task: str, batch: int, seconds: float) -> dict[str, Any]:
        """Seconds of a call: the median of as many as fit into `seconds`, after warming up."""
        function = self.ready[task, batch]
        warm = time.perf_counter()
        function()
        while time.perf_counter() - warm < WARM_SECONDS:
            function()
        taken = []
        started = time.perf_counter()
        cpu = time.process_time()
        while time.perf_counter() - started < seconds or len(taken) < FEWEST_CALLS:
            before = time.perf_counter()
            function()
            taken.append(time.perf_counter() - before)
        cpu = (time.process_time() - cpu) / len(taken)
        return {"seconds": statistics.median(taken), "calls": len(taken), "cpu_seconds": cpu}

    def memory(self, batch: int, steps: int) -> dict[str, Any]:
        """Bytes resident at most, after importing and after some training steps."""
        imported = peak_memory()
        function = self.peer.training(batch)
        for _ in range(steps):
            function()
        return {"start": self.before, "imported": imported, "peak": peak_memory()}

    def stored(self, batch: int) -> dict[str, Any]:
        """Bytes that a forward leaves for the backward, where the peer can say."""
        count = getattr(self.peer, "stored_bytes", None)
        return {"bytes": count(batch) if count else None}

    def epoch(self, images: int) -> dict[str, Any]:
        """An epoch of so many images."""
        return {"seconds": self.peer.seconds(images), "resident": peak_memory()}

    def about(self) -> dict[str, Any]:
        """What the peer tells of itself."""
        return self.peer.about()


def peak_memory() -> int:
    """Bytes this process had resident at most. Not `ru_maxrss`, which a child inherits."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Answer until there are no more requests."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, flavour, folder, threads = sys.argv[1:]
    worker = Worker(module, flavour, folder, int(threads))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("do"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
