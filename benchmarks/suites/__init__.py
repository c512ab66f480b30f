"""What is measured; each module a `measure(setup)` that yields parts of the results file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import results
from benchmarks.peers import Entry
from benchmarks.workload import Workload


@dataclass
class Setup:
    """What the command line decided.

    Attributes
    ----------
    entries : list of Entry
        The peers that were asked for.
    training, inference : list of int
        Batch sizes.
    rounds : int
    seconds : float
        For which a peer is called again and again in a round.
    threads : int
    quick : bool
    say : callable
        Tells how far it is.
    """

    workload: Workload
    entries: list[Entry]
    training: list[int]
    inference: list[int]
    rounds: int
    seconds: float
    threads: int
    quick: bool
    say: Callable[[str], None]

    def part(self, **content: Any) -> dict[str, Any]:
        """A part of the results file."""
        return {**results.circumstances(self.rounds, self.threads, self.quick), **content}
