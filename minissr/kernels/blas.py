"""Holding NumPy's matrix products to one thread.

OpenBLAS shares a product out among threads in a way that depends on how many there are, and with it
the order in which numbers are added up: the last bits of a training on the NumPy backend would
depend on the machine's cores. And its workers keep spinning for a while after each product, on the
cores that compiled loops want.
"""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import numpy as np

OPENBLAS_SETTERS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)


def quiet_blas() -> bool:
    """Hold NumPy's own OpenBLAS to one thread; whether it was found."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs", package / ".libs"):
        for path in folder.glob("*openblas*"):
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(str(path))  # loaded already: this is a second handle
                for name in OPENBLAS_SETTERS:
                    if hasattr(library, name):
                        getattr(library, name)(1)
                        return True
    return False
