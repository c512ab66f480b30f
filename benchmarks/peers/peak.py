"""The limit: how fast this machine multiplies and adds, and how fast it reads and writes memory.

Twelve registers are multiplied and added to in a loop with nothing else in it: enough of them to
hide the latency of every current processor, few enough for sixteen registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from benchmarks.workload import Workload
from minissr.kernels import threads as teams
from minissr.kernels.simd import LANES, add, fma, load, splat, store

REGISTERS = 12
LOOPS = 400_000
TRIAD = 8 << 20  # numbers in each of three arrays: 32 MiB, more than caches hold


@numba.njit(nogil=True)
def spin(loops, numbers):
    """`loops` times REGISTERS multiply-adds on whole registers."""
    factor, step = splat(np.float32(0.9999)), splat(np.float32(1e-5))
    # Different numbers: equal registers would be computed once.
    a, b, c, d = load(numbers, 0), load(numbers, 1), load(numbers, 2), load(numbers, 3)
    e, f, g, h = load(numbers, 4), load(numbers, 5), load(numbers, 6), load(numbers, 7)
    i, j, k, m = load(numbers, 8), load(numbers, 9), load(numbers, 10), load(numbers, 11)
    for _ in range(loops):
        a, b, c = fma(a, factor, step), fma(b, factor, step), fma(c, factor, step)
        d, e, f = fma(d, factor, step), fma(e, factor, step), fma(f, factor, step)
        g, h, i = fma(g, factor, step), fma(h, factor, step), fma(i, factor, step)
        j, k, m = fma(j, factor, step), fma(k, factor, step), fma(m, factor, step)
    left = add(add(add(a, b), add(c, d)), add(e, f))
    right = add(add(add(g, h), add(i, j)), add(k, m))
    store(numbers, 0, add(left, right))  # so that nothing can be left out


@numba.njit(parallel=True)
def spin_all(loops, numbers):
    for t in numba.prange(len(numbers)):
        spin(loops, numbers[t])


@numba.njit(parallel=True)
def triad(a, b, c):
    for i in numba.prange(a.size):
        a[i] = b[i] + np.float32(3) * c[i]


class Peak:
    """See `peers`; `batch` means threads here."""

    def peak(self, batch: int) -> Callable[[], Any]:
        numbers = np.random.default_rng(0).random((batch, 64), np.float32)
        teams.set_threads(batch)

        def run() -> None:
            with teams.team():
                spin_all(LOOPS, numbers)

        return run

    def bandwidth(self, batch: int) -> Callable[[], Any]:
        a, b, c = (np.ones(TRIAD, np.float32) for _ in range(3))

        def run() -> None:
            with teams.team():
                triad(a, b, c)

        return run

    def check(self, task: str, batch: int) -> dict[str, Any]:
        return {"right": True}

    def about(self) -> dict[str, Any]:
        """Floating point operations and bytes of a call."""
        return {"flops": 2 * LANES * REGISTERS * LOOPS, "bytes": 3 * 4 * TRIAD, "lanes": LANES}


def open(workload: Workload, flavour: str, threads: int) -> Peak:
    return Peak()
