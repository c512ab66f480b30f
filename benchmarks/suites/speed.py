"""Training steps and inference: everybody in the same rounds, and the machine's peak with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from benchmarks.interleave import Contestant, contestants, export, take_turns
from benchmarks.peers import Entry
from benchmarks.suites import Setup

PEAK = Entry("peak", "multiply-adds alone", "peak", does=("peak",))


def measure_training(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """A part for each batch size: a whole step, from faces to changed parameters."""
    for batch in setup.training:  # how memory was used for one size changes how fast another is
        yield from measure(setup, "training", [batch])


def measure_inference(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """A part for each batch size: from faces to ages."""
    yield from measure(setup, "inference", setup.inference)


def measure(setup: Setup, task: str, batches: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """One interleaved run for each batch size, in the same new processes."""
    entries = [entry for entry in setup.entries if task in entry.does]
    unwritten = {}
    if task == "inference":
        unwritten = export(entries, batches, setup.workload, setup.say)
    able = [entry for entry in entries if entry.file not in unwritten]
    failed = [
        {"peer": e.name, "label": e.label, "status": "failed", "why": unwritten[e.file]}
        for e in entries
        if e.file in unwritten
    ]
    tasks = [*((task, batch) for batch in batches), ("peak", setup.threads)]
    flops = flops_of(setup, task)
    with contestants([*able, PEAK], tasks, setup.workload, setup.threads, setup.say) as all_:
        peak = next(one for one in all_ if one.task == "peak")
        for batch in batches:
            gauge = dataclasses.replace(peak, row=dict(peak.row))
            runners = [one for one in all_ if one.task == task and one.batch == batch]
            repeated = take_turns([*runners, gauge], setup.rounds, setup.seconds, setup.say, gauge)
            yield (
                f"{task}/{batch}",
                setup.part(
                    task=task,
                    batch=batch,
                    rows=[one.row for one in runners] + failed,
                    peak_gflops=peak_rates([gauge], setup.threads),
                    flops_per_image=flops,
                    repeated=repeated,
                ),
            )


def peak_rates(all_: list[Contestant], threads: int) -> list[float]:
    """GFLOP/s of the machine in each round."""
    for one in all_:
        if one.task == "peak" and one.runs and one.process is not None:
            flops = one.process.ask("about")["flops"] * threads
            return [flops / seconds / 1e9 for seconds in one.row["seconds"]]
    return []


def flops_of(setup: Setup, task: str) -> dict[str, float]:
    """Floating point operations an image, counting a multiply-add as two.

    `whole` is the graph's: its convolutions and dense layers, forward, and for training two more
    times (gradients of the weights and of the input) but for the input of the first convolutions,
    which nobody wants. `needed` is what minissr computes in inference: without the rows and columns
    that no later layer reads, and with 16 multiply-adds in place of 36 where it convolves by
    Winograd's formula (whose additions before and after are not counted).
    """
    import numpy as np

    from minissr.kernels.backend import use_backend
    from minissr.models.inference import read_sizes
    from minissr.models.registry import build
    from minissr.models.summary import trace

    model: Any = build(**setup.workload.config)
    size = setup.workload.config["image_size"]
    with use_backend("numpy"):
        rows = [r for r in trace(model, np.zeros((1, size, size, 3), np.uint8)) if r.macs]
    first = {"streams.s.0.conv", "streams.x.0.conv"}
    if task == "training":
        whole = sum(2 * row.macs * (2 if row.name in first else 3) for row in rows)
        return {"whole": whole, "needed": whole}
    sizes = read_sizes(model)
    needed = 0.0
    for row in rows:
        part = 1.0
        if row.name.startswith("streams."):
            level = int(row.name.split(".")[2]) + 1
            pools = 1 if model.streams.x[level - 1].pool == "none" else 2
            part = (sizes[level] * pools / row.shape[0]) ** 2
            if pools == 2 and level > 1:
                part *= 16 / 36
        elif ".conv_" in row.name:
            stage = model.stages[int(row.name.split(".")[1])]
            part = (row.shape[0] // stage.pool * stage.pool / row.shape[0]) ** 2
        needed += 2 * row.macs * part
    return {"whole": float(sum(2 * row.macs for row in rows)), "needed": needed}
