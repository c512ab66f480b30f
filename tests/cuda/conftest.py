"""The rungs of the CUDA backend's ladder: what each needs, and what it is skipped without.

All of it runs without a GPU: `pytest -m gpu_rungs tests/cuda`. The stand-in `cupy` is there only
while a test of this folder runs, so that nothing else mistakes it for the real one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from minissr.kernels import device
from tests import cuda_emulator
from tests.cuda_emulator.build import why_not


@pytest.fixture
def cp() -> Iterator[Any]:
    """The stand-in `cupy`."""
    if reason := why_not():
        pytest.skip(reason)
    cuda_emulator.install()
    device.gpu_answers.cache_clear()
    try:
        yield importlib.import_module("cupy")
    finally:
        cuda_emulator.uninstall()
        device.gpu_answers.cache_clear()
