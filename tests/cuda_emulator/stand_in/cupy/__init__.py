"""A stand-in for the part of CuPy that programs with their own kernels use.

Arrays are NumPy arrays behind a wall, kernels run on tests/cuda_emulator. It refuses what the real
CuPy refuses: turning an array into a NumPy one without `.get()`, mixing the two, Python numbers
where a kernel declares `int` or `float`. It says what it is: `__version__` ends in `+emulated` and
`is_emulated` is True. A name that is missing here raises AttributeError; add it to `_array.UFUNCS`
or `_array.FUNCTIONS` if the real package has it.
"""

from __future__ import annotations

from typing import Any

import numpy as _np

from cupy import _array, cuda
from cupy._array import (
    array,
    array_equal,
    asarray,
    ascontiguousarray,
    asnumpy,
    copyto,
    empty,
    empty_like,
    full,
    full_like,
    get_array_module,
    ndarray,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from cupy._kernels import RawKernel, RawModule
from cupy._recording import record

__version__ = "14.2.0+emulated"
is_emulated = True

float16, float32, float64 = _np.float16, _np.float32, _np.float64
int8, int16, int32, int64 = _np.int8, _np.int16, _np.int32, _np.int64
uint8, uint16, uint32, uint64 = _np.uint8, _np.uint16, _np.uint32, _np.uint64
bool_, dtype, generic, newaxis = _np.bool_, _np.dtype, _np.generic, _np.newaxis
inf, nan, pi = _np.inf, _np.nan, _np.pi

get_default_memory_pool = cuda.get_default_memory_pool
get_default_pinned_memory_pool = cuda.get_default_pinned_memory_pool

__all__ = [
    "RawKernel",
    "RawModule",
    "array",
    "array_equal",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "copyto",
    "cuda",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "get_array_module",
    "ndarray",
    "ones",
    "ones_like",
    "record",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    found = _array.lookup(name)
    if found is None:
        raise AttributeError(f"the stand-in cupy has no {name!r}")
    return found
