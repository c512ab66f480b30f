"""Rung 4: every kernel under AddressSanitizer, those that wait under ThreadSanitizer.

AddressSanitizer sees the first byte read or written beyond an array, in device memory or in a
block's shared memory. ThreadSanitizer is told only of the orderings CUDA promises, so a missing
barrier is a race it reports, whatever the schedule was.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cuda.cases import CASES, results
from tests.cuda_emulator.module import running

pytestmark = pytest.mark.gpu_rungs


@pytest.mark.parametrize("name", CASES)
def test_stays_inside_its_arrays(cp: Any, name: str) -> None:
    with running(mode="asan"):
        results(name, "cupy", "float32")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.waits])
def test_has_no_race(cp: Any, name: str) -> None:
    with running(mode="tsan"):
        results(name, "cupy", "float32")
