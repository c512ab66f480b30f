"""The same kernels on registers of 8 and of 4 numbers, each in a process of its own.

`NUMBA_CPU_NAME` makes Numba compile for an older processor, which this one still understands.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="needs Numba")
from tests.conftest import ROOT

# What is written for registers: the type itself, all that is compiled on it, and who calls it.
FILES = (
    "test_simd.py",
    "test_block_fused.py",
    "test_head_fused.py",
    "test_conv2d.py",
    "test_inference_blocks.py",
)
USERS = ("ops/test_block.py", "test_inference.py")


@pytest.mark.slow
@pytest.mark.parametrize("processor", ["haswell", "nehalem"])
def test_narrower_registers_agree_too(processor: str) -> None:
    written = [f"kernels/{name}" for name in FILES]
    files = [str(ROOT / "tests" / name) for name in (*written, *USERS)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CPU_NAME": processor},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
