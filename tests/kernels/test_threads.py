"""The same bits on 1, 2 and 4 threads, and from the process that compiled.

Each number of threads needs a process of its own, and so does a first run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minissr.kernels import KERNELS
from tests.conftest import ROOT


def digests_on(threads: int, **variables: str) -> dict[str, str]:
    """Kernel -> digest of its results, from a process with that many threads."""
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.digests"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def differing(a: dict[str, str], b: dict[str, str]) -> list[str]:
    """The kernels whose digests are not the same."""
    return [kernel for kernel in KERNELS if a[kernel] != b[kernel]]


def test_threads_change_no_bit() -> None:
    one = digests_on(1)
    assert set(one) == set(KERNELS)
    for threads in (2, 4):
        assert not differing(digests_on(threads), one), f"{threads} threads give other bits"


@pytest.mark.slow
def test_first_run_gives_the_same_bits_as_later_ones(tmp_path: Path) -> None:
    """Code just compiled and the same code from the cache may have been optimised apart."""
    first = digests_on(2, MINISSR_CACHE=str(tmp_path))
    assert not differing(digests_on(2, MINISSR_CACHE=str(tmp_path)), first)
