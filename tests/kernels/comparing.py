"""How results of two kernels are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minissr.kernels import lookup

DTYPES = (np.float32, np.float64)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}  # relative to the largest value


def results(kernel: str, backend: str, *arguments: Any) -> tuple[np.ndarray, ...]:
    """The kernel's results as a tuple; fails if it changed or handed back an input."""
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    before = [a.copy() for a in arrays]
    out = lookup(kernel, backend)(*arguments)
    out = out if isinstance(out, tuple) else (out,)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy, f"{kernel} on {backend} changed an input")
        for result in out:
            assert not np.shares_memory(array, result), f"{kernel} on {backend} returned an input"
    for result in out:
        assert result.flags.c_contiguous, f"{kernel} on {backend}: a result is not contiguous"
    return out


def assert_close(got: np.ndarray, expected: np.ndarray, dtype: type, what: str = "") -> None:
    """Equal dtype and shape, and values within the tolerance times the largest of them."""
    assert got.dtype == expected.dtype == dtype, f"{what}: {got.dtype}, not {expected.dtype}"
    assert got.shape == expected.shape, f"{what}: {got.shape}, not {expected.shape}"
    largest = abs(expected).max(initial=0.0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * largest, err_msg=what)


def backends_agree(
    kernel: str, arguments: Callable[[type], tuple[Any, ...]], backend: str = "numba"
) -> None:
    """`backend` gives what the NumPy reference gives, in float32 and in float64.

    `arguments` makes the kernel's arguments in a dtype.
    """
    for dtype in DTYPES:
        given = arguments(dtype)
        expected, got = results(kernel, "numpy", *given), results(kernel, backend, *given)
        assert len(got) == len(expected)
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            if b.dtype.kind == "f":
                assert_close(a, b, dtype, f"{kernel}, result {i}, on {backend}")
            else:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b, f"{kernel}, result {i}, on {backend}")
