"""Memory of training: what a process has resident at most, and what a step stores for backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.interleave import PeerFailed, Process, describe_missing
from benchmarks.peers import Entry
from benchmarks.suites import Setup

STEPS = 5


def measure(setup: Setup) -> Iterator[tuple[str, dict[str, Any]]]:
    """A part for each batch size; each peer in a fresh process, one at a time."""
    for batch in setup.training:
        rows = []
        for entry in (e for e in setup.entries if "training" in e.does):
            row: dict[str, Any] = {"peer": entry.name, "label": entry.label}
            row |= describe_missing(entry) or one(entry, batch, setup)
            setup.say(f"memory, {entry.label}, batch {batch}: {row['status']}")
            rows.append(row)
        yield f"memory/{batch}", setup.part(batch=batch, steps=STEPS, rows=rows)


def one(entry: Entry, batch: int, setup: Setup) -> dict[str, Any]:
    """The numbers of one peer, in bytes."""
    try:
        found = in_fresh_process(entry, setup, "memory", batch=batch, steps=STEPS)
        stored = in_fresh_process(entry, setup, "stored", batch=batch)["bytes"]
    except PeerFailed as failure:
        return {"status": "failed", "why": str(failure)}
    return {"status": "ok", **found, "stored": stored}


def in_fresh_process(entry: Entry, setup: Setup, do: str, **request: Any) -> dict[str, Any]:
    """Ask one thing of a process that did nothing before."""
    process = Process(entry, setup.workload, setup.threads)
    try:
        return process.ask(do, **request)
    finally:
        process.close()
