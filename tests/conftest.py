"""What all tests share: hypothesis profiles, backends, and where outside material is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# `quick` is what README's test command runs; `thorough` (HYPOTHESIS_PROFILE=thorough) is for CI
# and for whoever changed a derivative. Both draw the same examples every time.
COMMON = {
    "deadline": None,
    "derandomize": True,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("quick", max_examples=40, **COMMON)
settings.register_profile("thorough", max_examples=400, **COMMON)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
settings.load_profile(PROFILE)


def examples(quick: int, thorough: int) -> int:
    """How many examples a test draws that doesn't keep to the profile's own number."""
    return thorough if PROFILE == "thorough" else quick


CPU_BACKENDS = ("numpy", "numba")


def outside(variable: str, default: str, what: str) -> Path:
    """A folder that users don't have: the one `variable` names, or one beside the project."""
    folder = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not folder.is_dir():
        pytest.skip(f"{what} not found; set {variable} to its folder")
    return folder


@pytest.fixture(params=CPU_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that runs on a CPU, as a name."""
    return request.param


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The released SSR-Net's weights and goldens (never part of this project)."""
    return outside("MINISSR_REFERENCE", "reference", "the released weights and goldens")


@pytest.fixture(scope="session")
def utkface_dir() -> Path:
    """The folder with UTKFace.tar and labels.csv (never part of this project)."""
    return outside("MINISSR_DATA", "data", "the folder of real faces") / "utkface"
