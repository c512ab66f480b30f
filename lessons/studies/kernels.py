"""The convolutions of lesson 05, timed on a quiet machine.

    python -m lessons.studies.kernels    writes lessons/studies/results/kernels.json

Runs the lesson's own cells up to the one that reads the result, several times over, and keeps the
median of each way to compute the convolution.
"""

from __future__ import annotations

import statistics
from typing import Any

from lessons.source import FOLDER, read
from lessons.studies.common import write_results

ROUNDS = 5


def measure() -> dict[str, float]:
    """Billions of operations a second of each way, in the lesson's order."""
    space: dict[str, Any] = {"__name__": "lesson_05"}
    for cell in read(next(FOLDER.glob("05_*.py"))).code:
        if "kernels.json" in cell.text or "results/" in cell.text:
            break
        exec(compile(cell.text, "lesson 05", "exec"), space)
    return space["speed"]


def main() -> None:
    rounds = [measure() for _ in range(ROUNDS)]
    medians = {name: round(statistics.median(r[name] for r in rounds), 4) for name in rounds[0]}
    write_results("kernels", "python -m lessons.studies.kernels", {"billions_per_second": medians})


if __name__ == "__main__":
    main()
