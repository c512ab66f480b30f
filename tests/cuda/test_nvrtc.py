"""Rung 1: every `.cu` file compiled to machine code, and what it costs a multiprocessor.

With NVRTC of CUDA 12 for all cards since the GTX 10 series, with that of CUDA 13 for those it still
knows. The compiler is a wheel (see nvrtc.py); neither GPU nor driver is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minissr.kernels import cuda
from minissr.kernels.cuda import Program
from tests.cuda import nvrtc

ARCHITECTURES = {12: (61, 70, 75, 80, 86, 90, 100), 13: (75, 80, 86, 90, 100)}
# Kept to be read, not to be run in training.
TEACHING = {"conv3x3_naive", "conv3x3_tiled"}
MOST_REGISTERS, MOST_SHARED = 128, 48 * 1024
# Windows of the stream block that are compiled for something else than pixels and 3x3.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "block.cu": [{}, {"INPUT": "byte"}, {"KH": 1, "KW": 1}, {"KH": 2, "KW": 3}],
    "block_grad.cu": [{}, {"INPUT": "byte"}, {"KH": 1, "KW": 1}, {"KH": 2, "KW": 3}],
}

FILES = sorted(Path(cuda.KERNELS).glob("*/*.cu"))


def compiler(major: int) -> nvrtc.Nvrtc:
    found = nvrtc.load(major)
    if found is None:
        wheel = {12: "nvidia-cuda-nvrtc-cu12==12.9.*", 13: "nvidia-cuda-nvrtc==13.*"}[major]
        pytest.skip(f"NVRTC of CUDA {major} is not installed: pip install '{wheel}'")
    return found


def program(path: Path) -> Program:
    return Program(str(path), path.name)


def compilations(path: Path, arch: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(dtype, options) of everything a file is compiled for; float64 for the oldest and newest."""
    for dtype in ("float32", "float64") if arch in (61, 100) else ("float32",):
        for defines in VARIANTS.get(path.name, [{}]):
            yield dtype, program(path).options(dtype, defines)


def test_all_files_are_found() -> None:
    families = {path.parent.name for path in FILES}
    assert {"conv2d", "pool2d", "batch_norm", "block", "stem", "head", "stagewise"} <= families


@pytest.mark.gpu_rungs
@pytest.mark.parametrize(
    ("major", "arch"), [(major, arch) for major, archs in ARCHITECTURES.items() for arch in archs]
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_compiles_within_its_means(path: Path, major: int, arch: int) -> None:
    """No number spilled to memory, registers for two blocks of 256, shared memory of any card.

    In float64, which is for gradient checks only, speed doesn't matter: it has to compile and its
    shared memory has to fit.
    """
    for dtype, options in compilations(path, arch):
        usages = compiler(major).compile(program(path).source, arch, options)
        assert {usage.kernel for usage in usages} == set(program(path).kernels)
        for usage in usages:
            what = f"{usage} for sm_{arch}, {options}"
            assert usage.shared_bytes <= MOST_SHARED, what
            if dtype == "float32" and usage.kernel not in TEACHING:
                assert usage.spill_bytes == 0, what
                assert usage.registers <= MOST_REGISTERS, what


@pytest.mark.gpu_rungs
def test_a_mistake_in_the_source_is_reported() -> None:
    with pytest.raises(nvrtc.CompileError, match="undefined"):
        compiler(12).compile('extern "C" __global__ void f(int* x) { *x = y; }', 80)


@pytest.mark.gpu_rungs
def test_spills_are_seen() -> None:
    """A kernel squeezed into too few registers: otherwise 0 spills would prove nothing."""
    body = "float a[64]; for (int i = 0; i < 64; i++) a[i] = x[i]; __syncthreads();"
    sums = "".join(f"a[{i}] = a[{i}] * a[{(i * 7 + 3) % 64}] + x[{i}];" for i in range(64))
    out = "for (int i = 0; i < 64; i++) x[i] = a[i];"
    source = (
        'extern "C" __global__ void __launch_bounds__(1024, 2) f(float* x) '
        f"{{ {body} {sums} {sums} {out} }}"
    )
    (usage,) = compiler(12).compile(source, 61)
    assert usage.spill_bytes > 0
