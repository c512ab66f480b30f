"""Memory of training: what a process has resident at most, and what a step stores for backward.

Everybody as installed: who is told to keep freed memory has more by that, not by itself.
"""

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
        for entry in (e for e in setup.entries if "training" in e.does and not e.keeps):
            row: dict[str, Any] = {"peer": entry.name, "label": entry.label}
            row |= describe_missing(entry) or one(entry, batch, setup)
            setup.say(f"memory, {entry.label}, batch {batch}: {row['status']}")
            rows.append(row)
        yield f"memory/{batch}", setup.part(batch=batch, steps=STEPS, rows=rows)


def one(entry: Entry, batch: int, setup: Setup) -> dict[str, Any]:
    """The numbers of one peer, in bytes."""
    process = None
    try:
        process = Process(entry, setup.workload, setup.threads)
        found = process.ask("memory", batch=batch, steps=STEPS)
        stored = process.ask("stored", batch=batch)["bytes"]
    except PeerFailed as failure:
        return {"status": "failed", "why": str(failure)}
    finally:
        if process is not None:
            process.close()
    return {"status": "ok", **found, "stored": stored}
