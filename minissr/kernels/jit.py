"""How this project compiles with Numba; every Numba kernel imports its decorators from here.

`njit` is serial and releases the interpreter lock; `pjit` runs its `prange` loops on all threads
and is called from Python only. Both keep the compiled code on disk (see `cache`). The only liberty
given to the compiler is "contract" (a*b + c in one rounding, the fused multiply-add of every
current CPU); reordering of sums and assumptions about NaN and infinity are not allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
from numba import prange

from minissr.kernels import cache, threads

__all__ = ["njit", "pjit", "prange"]

config: Any = numba.config  # whose attributes appear at run time
_COMMON: dict[str, Any] = {
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract"},
}


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a serial kernel."""
    if function is None:
        return functools.partial(njit, **options)
    folder = cache.folder()
    if folder is None or config.DISABLE_JIT:
        return numba.njit(**{**_COMMON, **options})(function)
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:  # Numba looks at CACHE_DIR while it decorates; other people's functions keep theirs
        dispatcher = numba.njit(**{**_COMMON, "cache": True, **options})(function)
    finally:
        config.CACHE_DIR = before
    dispatcher._cache = cache.GuardedCache(dispatcher._cache, folder)
    return dispatcher


def pjit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a kernel whose `prange` loops run on all threads."""
    if function is None:
        return functools.partial(pjit, **options)
    dispatcher = njit(function, parallel=True, **options)

    @functools.wraps(function)
    def launch(*arguments: Any) -> Any:
        with threads.team():
            return dispatcher(*arguments)

    launch.dispatcher = dispatcher  # type: ignore[attr-defined]  # functions declare no attributes
    return launch
