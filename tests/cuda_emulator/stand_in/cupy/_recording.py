"""What a program asked of the device, in order: every launch, copy and memset."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_logs: list[list[Work]] = []
guards: list[Callable[[str, str], None]] = []  # called with kind and name; may refuse


@dataclass(frozen=True)
class Work:
    """One piece of work for the device.

    Attributes
    ----------
    kind : "kernel" | "cupy" | "memset" | "to device" | "to host" | "on device"
        A RawKernel, a kernel of CuPy's own, or a copy.
    name : str
    bytes_read, bytes_written : int
        Sizes of the arrays it reads and writes, each counted once. A kernel's arrays are told apart
        by `const`; one that is not const counts as written.
    grid, block : tuple of int
    details : dict
        For a RawKernel: `source`, `options`, `arguments`.
    """

    kind: str
    name: str
    bytes_read: int = 0
    bytes_written: int = 0
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict, repr=False)


@contextlib.contextmanager
def record() -> Iterator[list[Work]]:
    """Collect the work of the `with` block in a list. (The real CuPy has no such function.)"""
    log: list[Work] = []
    _logs.append(log)
    try:
        yield log
    finally:
        _logs.remove(log)


def note(*arguments: Any, **settings: Any) -> None:
    """Enter a piece of work into every open log."""
    for guard in guards:
        guard(*arguments[:2])
    if _logs:
        work = Work(*arguments, **settings)
        for log in _logs:
            log.append(work)
