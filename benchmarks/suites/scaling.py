"""Scaling: with the number of threads, and with the number of images in an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.interleave import Contestant, PeerFailed, Process, export, take_turns
from benchmarks.peers import BY_NAME, Entry
from benchmarks.suites import Setup

THREADS = (1, 2)
COMPARED = ("minissr", "torch-channels-last", "onnxruntime-torch")
TASKS = (("training", 50), ("training", 128), ("inference", 1), ("inference", 64))
IMAGES = (1000, 2000, 5000, 10_000, 20_000)
EPOCH = Entry("epoch", "an epoch", "epoch", does=("epoch",))


def measure_threads(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """minissr and two others with one thread and with two, all in the same rounds."""
    asked = {entry.name for entry in setup.entries}
    entries = [BY_NAME[n] for n in COMPARED if n in asked and not BY_NAME[n].missing()]
    tasks = [t for t in TASKS if t[1] in setup.training + setup.inference]
    failed = export(entries, [b for t, b in tasks if t == "inference"], setup.workload, setup.say)
    processes: list[Process] = []
    runners: list[Contestant] = []
    try:
        for entry in (e for e in entries if e.file not in failed):
            for threads in THREADS:
                process = Process(entry, setup.workload, threads)
                processes.append(process)
                for task, batch in (t for t in tasks if t[0] in entry.does):
                    about = {"peer": entry.name, "label": entry.label, "task": task, "batch": batch}
                    one = Contestant(entry, task, batch, process, {**about, "threads": threads})
                    one.row |= prepared(process, task, batch)
                    runners.append(one)
            setup.say(f"{entry.label}: ready")
        take_turns(runners, setup.rounds, setup.seconds, setup.say)
    finally:
        for process in processes:
            process.close()
    yield "threads", setup.part(rows=[one.row for one in runners])


def prepared(process: Process, task: str, batch: int) -> dict[str, Any]:
    """Make a peer ready; its row says if it can't be."""
    try:
        return {**process.ask("prepare", task=task, batch=batch), "status": "ok"}
    except PeerFailed as failure:
        return {"status": "failed", "why": str(failure)}


def measure_images(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an image costs in an epoch of few and of many: loading, augmentation and training."""
    counts = IMAGES[:2] if setup.quick else IMAGES
    process = Process(EPOCH, setup.workload, setup.threads)
    rows = [{"images": count, "seconds_per_image": []} for count in counts]
    try:
        process.ask("prepare", task="epoch", batch=counts[0])
        for number in range(min(setup.rounds, 3)):
            for row in rows:
                setup.say(f"epoch of {row['images']:,} images, round {number + 1}")
                done = process.ask("epoch", images=row["images"])
                row["seconds_per_image"].append(done["seconds"] / row["images"])
                row["resident"] = done["resident"]
    finally:
        process.close()
    yield "images", setup.part(rows=rows)
