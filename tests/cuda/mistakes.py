"""Mistakes planted in the real kernels, to see which rung of the ladder catches each.

A mistake is a piece of a `.cu` or `.cuh` file and what stands there instead; the piece has to occur
exactly once, so a kernel that changes takes its mistakes along or fails the test.

    python -m tests.cuda.mistakes        prints the table
"""

from __future__ import annotations

from tests import cuda_emulator
from tests.cuda import mistakes_in_network, mistakes_in_parts
from tests.cuda.planting import caught

MISTAKES = [*mistakes_in_parts.MISTAKES, *mistakes_in_network.MISTAKES]


def main() -> None:
    """Print the table: every mistake and the rung that catches it."""
    cuda_emulator.install()
    print("| mistake | file | caught by | it says |\n|---|---|---|---|")
    for mistake in MISTAKES:
        said = caught(mistake, mistake.rung) or "NOT CAUGHT"
        print(f"| {mistake.what} | {mistake.program.path.name} | {mistake.rung} | {said[:90]} |")


if __name__ == "__main__":
    main()
