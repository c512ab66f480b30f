"""Rung 3: the text of every `.cu` file, run on the CPU, against the NumPy kernels.

In five orders of threads and blocks, which must give the same bits: nothing may depend on who
comes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.cases import CASES, results
from tests.cuda_emulator.module import running

SCHEDULES = (("forward", 1), ("reverse", 1), ("random", 1), ("warps", 2), ("strided", 1))
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest number; NaN must meet NaN."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    got, wanted = np.nan_to_num(got), np.nan_to_num(wanted)
    scale = max(abs(wanted).max(initial=0), np.finfo(np.float32).tiny)
    return float(abs(got.astype(float) - wanted.astype(float)).max(initial=0) / scale)


def check(name: str, dtype: str) -> None:
    """One case in all orders; what the planted mistakes have to fail."""
    wanted = results(name, "numpy", dtype)
    first: list[np.ndarray] = []
    for order, seed in SCHEDULES:
        with running(order=order, seed=seed):
            got = results(name, "cupy", dtype)
        assert len(got) == len(wanted)
        for number, (g, w) in enumerate(zip(got, wanted, strict=True)):
            off = difference(g, w)
            assert off <= TOLERANCE[dtype], (
                f"{name}, result {number}, {order} order: off by {off:.1e} of the largest"
            )
        first = first or got
        for g, f in zip(got, first, strict=True):
            np.testing.assert_array_equal(g, f, f"{name} depends on the order of threads ({order})")


@pytest.mark.gpu_rungs
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_numpy_in_every_order(cp: Any, name: str, dtype: str) -> None:
    check(name, dtype)


@pytest.mark.parametrize("name", ["pool_side_by_side", "stagewise", "adam", "batch_norm"])
def test_a_few_of_them(cp: Any, name: str) -> None:
    check(name, "float32")
