"""Processes that take turns: everybody is measured once in each round, a different one first.

A machine is never equally fast for minutes; what one round sees of that, all peers see.
"""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import machine
from benchmarks.peers import KEPT, Entry
from benchmarks.workload import Workload
from minissr.errors import MinissrError

LONGEST = 900.0  # seconds to wait for an answer; compilers take their time
CALM = 0.9  # of the machine's best: a round with less, before or after, is repeated
REST = 0.2  # seconds between two peers: threads of the last one may still be spinning


class PeerFailed(MinissrError):
    """A peer's process ended or fell silent; the message is the last thing it said."""


class Process:
    """A running `benchmarks.worker`."""

    def __init__(self, entry: Entry, workload: Workload, threads: int) -> None:
        self.entry = entry
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close)
        flavour = entry.flavour or entry.file
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.worker",
                entry.module, flavour, str(workload.folder), str(threads),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=machine.ROOT,
            env=machine.environment(threads) | (KEPT if entry.keeps else {}),
        )  # fmt: skip
        self.answer()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Have something done."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise PeerFailed(self.last_words()) from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], LONGEST)[0]:
            raise PeerFailed(f"no answer for {LONGEST:.0f} seconds")
        line = self.process.stdout.readline()
        if not line:
            raise PeerFailed(self.last_words())
        return json.loads(line)

    def last_words(self) -> str:
        """The last line of what it wrote to standard error."""
        self.process.wait(timeout=30)
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        return lines[-1][:300] if lines else f"ended with code {self.process.returncode}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]  # it was opened as a pipe
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@dataclass
class Contestant:
    """A peer in one task: its process, and what came of it.

    Attributes
    ----------
    row : dict
        `peer`, `label`, `status` ("ok", "missing", "wrong", "failed"), and by status `install`,
        `why`, `check`, `seconds` (one a round) and what else was measured.
    """

    entry: Entry
    task: str
    batch: int
    process: Process | None = None
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        return self.row.get("status") == "ok" and self.process is not None


def describe_missing(entry: Entry) -> dict[str, Any] | None:
    """The row of a peer that isn't installed; None if it is."""
    missing = entry.missing()
    if not missing:
        return None
    return {"status": "missing", "missing": missing, "install": entry.install}


@contextlib.contextmanager
def contestants(
    entries: list[Entry],
    tasks: list[tuple[str, int]],
    workload: Workload,
    threads: int,
    say: Callable[[str], None],
) -> Iterator[list[Contestant]]:
    """Every entry in every task it does, checked and warm; one process for each entry."""
    opened: list[Process] = []
    found: list[Contestant] = []
    try:
        for entry in entries:
            wanted = [(task, batch) for task, batch in tasks if task in entry.does]
            mine = [Contestant(entry, task, batch) for task, batch in wanted]
            for one in mine:
                one.row = {"peer": entry.name, "label": entry.label}
            found += mine
            if not mine:
                continue
            absent = describe_missing(entry)
            if absent is not None:
                say(f"{entry.label}: not installed ({entry.install})")
                for one in mine:
                    one.row |= absent
                continue
            enter(entry, mine, workload, threads, opened, say)
        yield found
    finally:
        for process in opened:
            process.close()


def enter(
    entry: Entry,
    mine: list[Contestant],
    workload: Workload,
    threads: int,
    opened: list[Process],
    say: Callable[[str], None],
) -> None:
    """Start a peer's process, compare its answers, make it ready to be timed."""
    try:
        process = Process(entry, workload, threads)
        opened.append(process)
        for one in mine:
            one.process = process
            check = process.ask("check", task=one.task, batch=one.batch)
            one.row["check"] = check
            if not check["right"]:
                one.row["status"] = "wrong"
                say(f"{entry.label}: computes something else ({check})")
                continue
            one.row |= process.ask("prepare", task=one.task, batch=one.batch)
            one.row["status"] = "ok"
        say(f"{entry.label}: ready")
    except PeerFailed as failure:
        say(f"{entry.label}: failed ({failure})")
        for one in mine:
            if one.row.get("status") is None:
                one.row |= {"status": "failed", "why": str(failure)}


def take_turns(
    runners: list[Contestant],
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    gauge: Contestant | None = None,
) -> int:
    """Time everybody in every round; `row["seconds"]` becomes a list with one number a round.

    With a `gauge`, a contestant that measures the machine alone, it is asked before and after every
    round. A round in which the machine was not itself, because somebody else computed too, is
    repeated, whatever its numbers are; at most as many again as were asked for.

    Returns
    -------
    int
        How many rounds were repeated.
    """
    gauges: list[float] = []
    kept = repeated = 0
    while kept < rounds:
        say(f"round {kept + 1} of {rounds}")
        before = ask_gauge(gauge)
        taken = one_round([one for one in runners if one.runs], kept, seconds)
        after = ask_gauge(gauge)
        gauges += [before, after]
        if max(before, after) * CALM > min(gauges) and repeated < rounds:
            say("somebody else was computing; once more")
            repeated += 1
            continue
        kept += 1
        for one, numbers in taken:
            for key, value in numbers.items():
                one.row.setdefault(key, []).append(value)
    return repeated


def one_round(
    able: list[Contestant], number: int, seconds: float
) -> list[tuple[Contestant, dict[str, Any]]]:
    """Everybody once, beginning with another one each time."""
    taken = []
    first = number % max(1, len(able))
    for one in able[first:] + able[:first]:
        time.sleep(REST)
        assert one.process is not None
        try:
            answer = one.process.ask("time", task=one.task, batch=one.batch, seconds=seconds)
            taken.append((one, answer))
        except PeerFailed as failure:
            one.row |= {"status": "failed", "why": str(failure)}
    return taken


def ask_gauge(gauge: Contestant | None) -> float:
    """Seconds of a call that depends on the machine alone."""
    if gauge is None or not gauge.runs or gauge.process is None:
        return 1.0
    time.sleep(REST)
    return gauge.process.ask("time", task=gauge.task, batch=gauge.batch, seconds=0.1)["seconds"]


def export(
    entries: list[Entry], batches: list[int], workload: Workload, say: Callable[[str], None]
) -> dict[str, str]:
    """Have the model files written that the entries need; by file, why one couldn't be."""
    failed: dict[str, str] = {}
    for file in sorted({entry.file for entry in entries if entry.file and not entry.missing()}):
        sizes = [str(b) for b in batches if not (workload.folder / f"{b}-{file}").exists()]
        if not sizes:
            continue
        say(f"writing {file}")
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.peers.exports",
                str(workload.folder), file, *sizes,
            ],
            capture_output=True,
            text=True,
            cwd=machine.ROOT,
            env=machine.environment(1),
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            failed[file] = lines[-1][:300] if lines else f"ended with code {done.returncode}"
            say(f"{file}: {failed[file]}")
    return failed
