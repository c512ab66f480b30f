"""The text of the CUDA files: what heads of kernels say, what mistakes replace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minissr.kernels import cuda
from minissr.kernels.cuda import Program
from tests import cuda_emulator
from tests.cuda.mistakes import MISTAKES
from tests.cuda.planting import Mistake, planted

TEXTS = sorted([*cuda.KERNELS.glob("*/*.cu"), *cuda.KERNELS.rglob("*.cuh")])
HEAD = re.compile(
    r"(?P<head>(?:^//[^\n]*\n)+)(?:^#[^\n]*\n)*"
    r'^extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(?P<name>\w+)\(',
    re.MULTILINE,
)
FACTS = ("thread", "grid", "shared", "bytes")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_kernel_says_what_it_owns_and_moves(path: Path) -> None:
    kernels = Program(str(path), path.name).kernels if path.suffix == ".cu" else {}
    heads = {match["name"]: match["head"] for match in HEAD.finditer(path.read_text())}
    assert set(heads) == set(kernels)
    for name, head in heads.items():
        missing = [fact for fact in FACTS if not re.search(f"^//   {fact} ", head, re.MULTILINE)]
        assert not missing, f"{name} doesn't tell {', '.join(missing)}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_lines_fit_a_page(path: Path) -> None:
    assert max(map(len, path.read_text().splitlines())) <= 100


def test_the_emulator_knows_no_kernel_by_name() -> None:
    folder = Path(cuda_emulator.__file__).parent
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".py", ".h")]
    sources = [path for path in TEXTS if path.suffix == ".cu"]
    kernels = {name for path in sources for name in Program(str(path), path.name).kernels}
    known = {name for name in kernels for text in texts if re.search(rf"\b{name}\b", text)}
    assert len(kernels) > 30
    assert not known


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.what.replace(" ", "-"))
def test_what_a_mistake_replaces_is_there_once(mistake: Mistake) -> None:
    with planted(mistake):
        assert mistake.wrong in mistake.program.source
