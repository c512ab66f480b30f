"""Every door explains itself, at once: nothing heavy is loaded for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from minissr.cli import VERBS
from tests.conftest import ROOT

HEAVY = {"numpy", "numba", "cv2", "matplotlib", "safetensors", "tqdm", "cupy"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example_and_loads_nothing(verb: str) -> None:
    script = (
        f"import sys, minissr.{verb} as door\n"
        "print(door.build_parser().format_help())\n"
        f"print('LOADED', *sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    *help_lines, loaded = done.stdout.splitlines()
    assert "example:" in help_lines
    assert any(f"python -m minissr.{verb} " in line for line in help_lines)
    assert loaded.strip() == "LOADED"
