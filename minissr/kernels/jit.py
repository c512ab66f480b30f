"""How this project compiles with Numba; every Numba kernel imports its decorators from here.

`njit` is serial and releases the interpreter lock; `pjit` runs its `prange` loops on all threads.
Both keep the compiled code on disk. The only liberty given to the compiler is "contract" (a*b + c
in one rounding, the fused multiply-add of every current CPU); reordering of sums and assumptions
about NaN and infinity are not allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import prange

__all__ = ["njit", "pjit", "prange"]

_COMMON: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract"},
}


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a serial kernel."""
    decorate = numba.njit(**{**_COMMON, **options})
    return decorate if function is None else decorate(function)


def pjit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a kernel whose `prange` loops run on all threads."""
    return njit(function, parallel=True, **options)
