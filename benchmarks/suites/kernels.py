"""Every kernel by shape: GFLOP/s, GB/s and the share of the peak measured in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.interleave import Contestant, Process, take_turns
from benchmarks.peers import Entry
from benchmarks.suites import Setup
from benchmarks.suites.speed import PEAK, peak_rates

KERNELS = Entry("kernels", "kernels", "kernels", "numba", does=("case",))


def measure(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """One part: all kernels of a training step of 50 images."""
    kernels = Process(KERNELS, setup.workload, setup.threads)
    peak = Process(PEAK, setup.workload, setup.threads)
    try:
        cases = kernels.ask("about")["cases"]
        runners = [Contestant(KERNELS, "case", i, kernels, dict(c)) for i, c in enumerate(cases)]
        runners += [
            Contestant(PEAK, "peak", setup.threads, peak),
            Contestant(PEAK, "bandwidth", setup.threads, peak),
        ]
        for one in runners:
            assert one.process is not None
            check = one.process.ask("check", task=one.task, batch=one.batch)
            one.row |= {"check": check, "status": "ok" if check["right"] else "wrong"}
            if check["right"]:
                one.row |= one.process.ask("prepare", task=one.task, batch=one.batch)
        seconds, gauge = min(setup.seconds, 0.1), runners[-2]
        repeated = take_turns(runners, setup.rounds, seconds, setup.say, gauge)
        rates = peak_rates(runners, setup.threads)
        moved = peak.ask("about")["bytes"]
    finally:
        kernels.close()
        peak.close()
    yield (
        "kernels/50",
        setup.part(
            batch=50,
            repeated=repeated,
            rows=[one.row for one in runners[:-2]],
            peak_gflops=rates,
            triad_gbps=[moved / seconds / 1e9 for seconds in runners[-1].row["seconds"]],
        ),
    )
