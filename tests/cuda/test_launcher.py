"""The launcher: what reaches a kernel is exactly what its declaration says, or an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minissr.kernels import cuda
from minissr.kernels.cuda import Program

SOURCE = """
#include "common.cuh"
// extern "C" __global__ void commented_out(int n)
#ifndef INPUT
#define INPUT real
#endif
extern "C" __global__ void scale(const INPUT* __restrict__ x, real* __restrict__ y, int n,
                                 real factor) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * real(x[i]);
}
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "scale.cu").write_text(SOURCE)
    return Program(str(tmp_path / "module.py"), "scale.cu")


def scale(cp: Any, program: Program, **changes: Any) -> Any:
    x = cp.asarray(np.arange(5, dtype=np.float32))
    y = cp.empty(5, "float32")
    given = {"x": x, "y": y, "n": 5, "factor": 2, **changes}
    program.launch("scale", "float32", 1, 32, *given.values())
    return given["y"]


def test_numbers_become_what_the_kernel_declares(cp: Any, program: Program) -> None:
    np.testing.assert_array_equal(scale(cp, program).get(), [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(scale(cp, program, factor=np.float64(0.5)).get()[-1], 2)


def test_one_compilation_for_each_float_type(cp: Any, program: Program) -> None:
    scale(cp, program)
    first = program.function("scale", "float32", {})
    assert program.function("scale", "float32", {}) is first
    x = cp.asarray(np.ones(3))
    y = cp.empty(3, "float64")
    program.launch("scale", "float64", 1, 32, x, y, 3, 1e-300)
    np.testing.assert_array_equal(y.get(), 1e-300)


def test_a_type_given_by_a_define(cp: Any, program: Program) -> None:
    x, y = cp.asarray(np.array([7, 255], np.uint8)), cp.empty(2, "float32")
    program.launch("scale", "float32", 1, 32, x, y, 2, 1, defines={"INPUT": "byte"})
    np.testing.assert_array_equal(y.get(), [7, 255])
    with pytest.raises(TypeError, match="scale: x wants float32, got uint8"):
        program.launch("scale", "float32", 1, 32, x, y, 2, 1)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"x": np.zeros(5, np.float32)}, TypeError, "x wants an array on the device, got ndarray"),
        ({"n": 2**31}, ValueError, "n is 2147483648, which a 32-bit integer can't hold"),
        ({"n": -(2**31) - 1}, ValueError, "32-bit"),
    ],
)
def test_arguments_are_refused(
    cp: Any, program: Program, changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        scale(cp, program, **changes)


def test_arrays_of_another_type_or_with_gaps_are_refused(cp: Any, program: Program) -> None:
    with pytest.raises(TypeError, match="y wants float32, got float64"):
        scale(cp, program, y=cp.empty(5, "float64"))
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        scale(cp, program, x=cp.zeros((5, 2), "float32")[:, 0])


def test_the_number_of_arguments(cp: Any, program: Program) -> None:
    with pytest.raises(TypeError, match="takes 4 arguments and was given 5"):
        scale(cp, program, more=1)


def test_an_array_too_long_for_32_bits(
    cp: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda.MOST_ELEMENTS + 1024 < 2**31  # of the largest block, all threads can count on
    monkeypatch.setattr(cuda, "MOST_ELEMENTS", 4)
    with pytest.raises(ValueError, match="x has 5 elements; at most 4"):
        scale(cp, program, n=4)


def test_a_grid_too_large_is_a_sentence(cp: Any, program: Program) -> None:
    x = cp.zeros(1, "float32")
    with pytest.raises(ValueError, match="use a smaller batch"):
        program.launch("scale", "float32", (1, 70_000), 32, x, x, 1, 1)


def test_an_empty_grid_launches_nothing(cp: Any, program: Program) -> None:
    x = cp.zeros(0, "float32")
    with cp.record() as work:
        program.launch("scale", "float32", 0, 32, x, x, 0, 1)
    assert not work


def test_included_files_become_part_of_the_text(program: Program) -> None:
    """CuPy keeps machine code by the text it was given; a header must be in it."""
    assert "#include" not in program.source
    assert "typedef REAL real;" in program.source
    assert '#line 3 "scale.cu"' in program.source
    assert set(program.kernels) == {"scale"}


def test_shares_cover_everything_once() -> None:
    for count in (1, 63, 64, 127, 128, 1000, 99_999):
        for units in (1, 7, 600):
            parts, share = cuda.shares(count, units)
            assert (parts - 1) * share < count <= parts * share


def test_counters_are_left_at_zero(cp: Any) -> None:
    from tests.cuda.cases import results

    results("block_relu_avg", "cupy", "float32")
    assert not cuda.arrival_counters(1).get().any()
