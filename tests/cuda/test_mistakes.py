"""Rung 6: mistakes planted in the real kernels are caught, each by the rung that is named."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cuda.mistakes import MISTAKES
from tests.cuda.planting import Mistake, caught
from tests.cuda.test_nvrtc import FILES

pytestmark = pytest.mark.gpu_rungs


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.what.replace(" ", "-"))
def test_is_caught(cp: Any, mistake: Mistake) -> None:
    assert caught(mistake, mistake.rung), f"{mistake.what}: {mistake.rung} says nothing"


def test_there_are_enough_of_every_kind() -> None:
    assert len(MISTAKES) >= 25
    assert {m.rung for m in MISTAKES} == {"numpy", "asan", "tsan"}
    assert {m.program.path for m in MISTAKES} == set(FILES)
