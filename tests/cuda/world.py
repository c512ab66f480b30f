"""One call of every CUDA kernel, small enough for a sanitizer and odd enough to reach every edge.

A case is written once for all backends: it draws its inputs, hands each array to `put` (which
moves it to the device, or does nothing) and calls kernels by name. So the same text computes what
is compared and what it is compared with. Sizes don't fit the kernels' tiles on purpose: 8 x 16
pixels, slices of 8 channels, groups of 32, parts of 64 rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.kernels import cuda, lookup


@dataclass(frozen=True)
class World:
    """Where a case runs.

    Attributes
    ----------
    backend : "numpy" | "cupy"
    rng : Generator
        In the same state in every world.
    dtype : dtype
        float32 or float64.
    """

    backend: str
    rng: np.random.Generator
    dtype: np.dtype

    def put(self, array: Any) -> Any:
        return cuda.xp().asarray(array) if self.backend == "cupy" else np.array(array)

    def normal(self, *shape: int, scale: float = 1.0) -> Any:
        return self.put((self.rng.standard_normal(shape) * scale).astype(self.dtype))

    def whole(self, low: int, high: int, *shape: int) -> Any:
        """Whole numbers: many of them equal, and their sums exact."""
        return self.put(self.rng.integers(low, high, shape).astype(self.dtype))

    def bytes(self, *shape: int) -> Any:
        return self.put(self.rng.integers(0, 256, shape).astype(np.uint8))

    def call(self, name: str, *arguments: Any) -> Any:
        return lookup(name, self.backend)(*arguments)


@dataclass(frozen=True)
class Case:
    """A case and what is known about it."""

    name: str
    run: Callable[[World], tuple[Any, ...]]
    waits: bool  # whether threads wait for one another: these run under ThreadSanitizer


CASES: dict[str, Case] = {}


def case(waits: bool = False) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Enter the decorated function as a case under its own name."""

    def enter(run: Callable[[World], Any]) -> Callable[[World], Any]:
        CASES[run.__name__] = Case(run.__name__, run, waits)
        return run

    return enter


def results(name: str, backend: str, dtype: str, seed: int = 0) -> list[np.ndarray]:
    """Run a case; everything it computes, as NumPy arrays."""
    found = CASES[name].run(World(backend, np.random.default_rng(seed), np.dtype(dtype)))
    arrays: list[np.ndarray] = []

    def collect(value: Any) -> None:
        if isinstance(value, tuple | list):
            for item in value:
                collect(item)
        elif value is not None:
            arrays.append(value.get() if hasattr(value, "get") else np.asarray(value))

    collect(found)
    return arrays
