"""Choosing a backend: what computes, and how that choice is made and checked.

A CuPy array is computed by `cupy`. A NumPy array is computed by `numba` where Numba is installed
and by `numpy` otherwise, unless `use_backend` says which. No environment variable is read.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from minissr.errors import BackendMismatch, BackendUnavailable
from minissr.kernels import device

CHOICES = ("auto", "numpy", "numba", "cupy")
_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("backend", default="auto")


@lru_cache(maxsize=1)
def numba_installed() -> bool:
    """Whether Numba can be found; it is not imported."""
    return importlib.util.find_spec("numba") is not None


def resolve(name: str) -> str:
    """The backend that `--backend NAME` means here: `numpy`, `numba` or `cupy`.

    Raises BackendUnavailable, with the install command, if it can't run on this machine.
    """
    if name not in CHOICES:
        raise ValueError(f"backend {name!r} is none of {', '.join(CHOICES)}")
    if name == "auto":
        return "cupy" if device.gpu_answers() else on_cpu()
    if name == "numba" and not numba_installed():
        raise BackendUnavailable(
            "backend numba needs Numba, which is not installed: pip install numba"
        )
    if name == "cupy" and (missing := device.why_no_gpu()):
        raise BackendUnavailable(f"backend cupy needs {missing}")
    return name


def on_cpu() -> str:
    """What computes NumPy arrays when nobody chose: `numba` where it is installed."""
    return "numba" if numba_installed() else "numpy"


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[str]:
    """Compute NumPy arrays with `name` inside the `with` block (per thread)."""
    backend = resolve(name)
    token = _chosen.set(backend)
    try:
        yield backend
    finally:
        _chosen.reset(token)


def array_module(array: Any) -> ModuleType:
    """NumPy or CuPy: the module whose functions work on `array`."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    return importlib.import_module(type(array).__module__.partition(".")[0])


def backend_of(op: str, arrays: list[Any]) -> str:
    """The backend that computes these arrays.

    Raises BackendMismatch, naming the op, both sides and the fix, if they live in two places.
    """
    homes = {array_module(array).__name__ for array in arrays}
    if len(homes) > 1:
        raise BackendMismatch(
            f"{op} got arrays of {' and '.join(sorted(homes))}; move one side first, "
            "with tensor.to('cupy') or tensor.to('numpy')"
        )
    if homes == {"cupy"}:
        return "cupy"
    chosen = _chosen.get()
    if chosen == "cupy":
        raise BackendMismatch(
            f"{op} got arrays of numpy where the backend is cupy; move them first, "
            "with model.to('cupy') or tensor.to('cupy')"
        )
    return on_cpu() if chosen == "auto" else chosen


def cpu_backend() -> str:
    """What prepares data for a network: the chosen backend if it is a CPU's, else the quicker."""
    chosen = _chosen.get()
    return on_cpu() if chosen in ("auto", "cupy") else chosen
