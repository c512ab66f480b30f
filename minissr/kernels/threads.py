"""Threads: which library runs the parallel loops, how many, and who else must keep still.

Numba runs its parallel loops on one of three *threading layers*. `tbb` starts a loop fastest and
can be called from several Python threads at once; pip installs it with this package, but where the
system's loader doesn't look, so it is loaded here by its path before Numba asks for it. `omp` is
next. `workqueue` is always there, is slower for short loops, and aborts the process if two Python
threads enter it together, so on it every loop waits for a lock.

Two more things are settled before the first loop. NumPy's matrix products are held to one thread:
after a product OpenBLAS's workers keep spinning for the next, on the cores our loops want, and make
them two to three times slower. And memory that was freed is kept: by default glibc gives every
large array back to the system and gets the next one page by page, which costs a training step a
fifth of its time.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numba
from numba.np.ufunc import parallel

from minissr.kernels.blas import quiet_blas

config: Any = numba.config  # whose attributes appear at run time
_state = threading.local()
_starting = threading.Lock()
_workqueue = threading.Lock()
_layer: str | None = None
_count: int | None = None

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
FROM_HEAP = 1 << 30  # bytes; smaller arrays come from the heap and go back to it
NO_TRIM = -1  # what is free at the heap's end stays with the process, however much it is


def available() -> int:
    """The largest number of threads `set_threads` takes."""
    return int(config.NUMBA_NUM_THREADS)


def set_threads(count: int) -> None:
    """Run parallel loops on `count` threads from now on, whichever Python thread calls them.

    Raises
    ------
    ValueError
        If there are not so many.
    """
    global _count
    if not 1 <= count <= available():
        raise ValueError(
            f"{count} threads; expected 1 to {available()} "
            "(set NUMBA_NUM_THREADS before starting to allow more)"
        )
    _count = count


def get_threads() -> int:
    """How many threads parallel loops run on."""
    return available() if _count is None else _count


def layer() -> str:
    """The threading layer in use: "tbb", "omp" or "workqueue"; started if it was not yet."""
    global _layer
    with _starting:
        if _layer is None:
            load_tbb()
            parallel._launch_threads()
            quiet_blas()
            keep_freed_memory()
            _layer = numba.threading_layer()
    return _layer


@contextlib.contextmanager
def team() -> Iterator[None]:
    """Around every parallel loop: the layer started, the number of threads set, no one else in."""
    current = layer() if _layer is None else _layer
    count = get_threads()
    if getattr(_state, "count", None) != count:  # Numba remembers the number for each thread
        numba.set_num_threads(count)
        _state.count = count
    if current == "workqueue":
        with _workqueue:
            yield
    else:
        yield


def load_tbb() -> bool:
    """Load pip's tbb by its path, so that Numba finds it; whether there was one."""
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        return False
    for file in files:
        if file.name in ("libtbb.so.12", "libtbb.12.dylib", "tbb12.dll"):
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
                return True
    return False


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory instead of returning it; whether it will."""
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        allocator = ctypes.CDLL(None).mallopt
        options = {M_MMAP_THRESHOLD: FROM_HEAP, M_TRIM_THRESHOLD: NO_TRIM}
        return all(allocator(option, value) for option, value in options.items())
    return False
