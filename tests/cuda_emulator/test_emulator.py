"""The emulator itself: each thing CUDA forbids is reported, with the line of the kernel; each thing
it allows is not. And the stand-in refuses what CuPy refuses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import cuda_emulator
from tests.cuda.conftest import cp  # noqa: F401  (the fixture)
from tests.cuda_emulator.build import why_not
from tests.cuda_emulator.module import ORDERS, Module, running
from tests.cuda_emulator.source import EmulatorError

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

SOURCE = """
extern "C" __global__ void neighbour(const int* x, int* y, int n) {
    __shared__ int cells[64];
    const int i = threadIdx.x;
    cells[i] = x[i];
    __syncthreads();
    y[i] = cells[(i + 1) % n];
}
extern "C" __global__ void divergent(int* y) {
    if (threadIdx.x < 10)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1;
}
extern "C" __global__ void leaves(int* y) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}
extern "C" __global__ void warp_sum(const float* x, float* y) {
    float sum = x[threadIdx.x];
    for (int d = 16; d > 0; d >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, d);
    if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = sum;
}
extern "C" __global__ void wide_mask(float* y) {
    if (threadIdx.x < 8) y[threadIdx.x] = __shfl_down_sync(0xffffffffu, y[threadIdx.x], 1);
}
extern "C" __global__ void count(unsigned* n, int step) { atomicAdd(n, (unsigned)step); }
extern "C" __global__ void forgotten(float* y) {
    __shared__ float cells[32];
    if (threadIdx.x > 0) cells[threadIdx.x] = 1.f;
    __syncthreads();
    y[threadIdx.x] = cells[threadIdx.x];
}
extern "C" __global__ void __launch_bounds__(64) bounded(int* y) { *y = 1; }
extern "C" __global__ void hoards(float* y) {
    __shared__ float cells[13000];
    cells[threadIdx.x] = 1.f;
    y[threadIdx.x] = cells[threadIdx.x];
}
extern "C" __global__ void votes(unsigned* y) {
    const unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x & 1);
    if (threadIdx.x == 0) { y[0] = odd; }
    const int any = __any_sync(0xffffffffu, threadIdx.x == 5);
    const int all = __all_sync(0xffffffffu, threadIdx.x < 5);
    if (threadIdx.x == 0) { y[1] = any; y[2] = all; }
}
extern "C" __global__ void stretched(float* y, int n) {
    extern __shared__ float cells[];
    cells[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = cells[n - 1 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(SOURCE)


@pytest.mark.parametrize("order", ORDERS)
def test_threads_wait_for_one_another_in_any_order(module: Module, order: str) -> None:
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    with running(order=order, seed=5):
        module.launch("neighbour", (1,), (64,), (x, y, np.int32(64)))
    np.testing.assert_array_equal(y, np.roll(x, -1))


def test_barriers_on_two_lines(module: Module) -> None:
    with pytest.raises(EmulatorError, match=r"barriers of different lines \(11 and 13\)"):
        module.launch("divergent", (1,), (32,), (np.zeros(32, np.int32),))


def test_a_thread_that_left(module: Module) -> None:
    with pytest.raises(EmulatorError, match="1 threads returned while 31 wait"):
        module.launch("leaves", (1,), (32,), (np.zeros(32, np.int32),))


def test_shuffles(module: Module) -> None:
    x, y = np.arange(96, dtype=np.float32), np.zeros(3, np.float32)
    module.launch("warp_sum", (1,), (96,), (x, y))
    np.testing.assert_array_equal(y, x.reshape(3, 32).sum(axis=1))


def test_a_mask_that_names_absent_lanes(module: Module) -> None:
    with pytest.raises(EmulatorError, match="for lanes that never come"):
        module.launch("wide_mask", (1,), (32,), (np.zeros(32, np.float32),))


def test_votes(module: Module) -> None:
    y = np.zeros(3, np.uint32)
    module.launch("votes", (1,), (32,), (y,))
    np.testing.assert_array_equal(y, [0xAAAAAAAA, 1, 0])


def test_atomics(module: Module) -> None:
    n = np.zeros(1, np.uint32)
    module.launch("count", (7,), (50,), (n, np.int32(2)))
    assert n[0] == 700


def test_shared_memory_nobody_wrote_is_nan(module: Module) -> None:
    y = np.zeros(32, np.float32)
    module.launch("forgotten", (2,), (32,), (y,))
    assert np.isnan(y[0])
    np.testing.assert_array_equal(y[1:], 1)


def test_dynamic_shared_memory(module: Module) -> None:
    y = np.zeros(40, np.float32)
    module.launch("stretched", (1,), (40,), (y, np.int32(40)), shared=160)
    np.testing.assert_array_equal(y, np.arange(40)[::-1])


def test_too_much_shared_memory(module: Module) -> None:
    with pytest.raises(EmulatorError, match="52000 bytes of shared memory; 49152 is the limit"):
        module.launch("hoards", (1,), (32,), (np.zeros(32, np.float32),))


@pytest.mark.parametrize(
    ("grid", "block", "said"),
    [((1,), (65,), "launch bounds, 64"), ((1,), (1025,), "can't be"), ((0,), (1,), "can't be")],
)
def test_launches_a_device_refuses(
    module: Module, grid: tuple[int, ...], block: tuple[int, ...], said: str
) -> None:
    with pytest.raises(EmulatorError, match=said):
        module.launch("bounded", grid, block, (np.zeros(1, np.int32),))


def test_arguments_of_another_type(module: Module) -> None:
    n = np.zeros(1, np.uint32)
    with pytest.raises(TypeError, match="a Python int is passed as 8 bytes"):
        module.launch("count", (1,), (1,), (n, 2))
    with pytest.raises(TypeError, match="wants an array of uint32, got one of int32"):
        module.launch("count", (1,), (1,), (n.astype(np.int32), np.int32(2)))
    with pytest.raises(EmulatorError, match="takes 2 arguments, 1 were given"):
        module.launch("count", (1,), (1,), (n,))
    with pytest.raises(EmulatorError, match="no kernel 'absent'"):
        module.launch("absent", (1,), (1,), ())


def test_the_text_is_compiled() -> None:
    with pytest.raises(EmulatorError, match=r"kernel.cu:2:.*planted"):
        Module('extern "C" __global__ void f(int* x) { *x = 1; }\n#error planted\n')


# ---- the stand-in -----------------------------------------------------------------------------


def test_it_says_what_it_is(cp: Any) -> None:  # noqa: F811
    assert cp.is_emulated
    assert cp.__version__.endswith("+emulated")


def test_no_conversion_and_no_mixing(cp: Any) -> None:  # noqa: F811
    x = cp.asarray(np.ones(3, np.float32))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(TypeError, match="Unsupported type"):
        x + np.ones(3, np.float32)
    with pytest.raises(TypeError, match="Unsupported type"):
        cp.concatenate([x, np.ones(3, np.float32)])
    np.testing.assert_array_equal(x.get(), 1)


def test_what_a_kernel_does_not_take(cp: Any) -> None:  # noqa: F811
    count = cp.RawModule(code=SOURCE).get_function("count")
    n = cp.zeros(4, "uint32")
    with pytest.raises(TypeError, match="Unsupported type"):
        count((1,), (1,), (np.zeros(1, np.uint32), np.int32(1)))
    with pytest.raises(TypeError, match="Python int"):
        count((1,), (1,), (n, 1))
    with pytest.raises(ValueError, match="view with gaps"):
        count((1,), (1,), (n[::2], np.int32(1)))


def test_memory_nobody_wrote_is_nan(cp: Any) -> None:  # noqa: F811
    assert np.isnan(cp.empty(3, "float32").get()).all()


def test_reductions_stay_on_the_device(cp: Any) -> None:  # noqa: F811
    total = cp.ones(3, "float32").sum()
    assert isinstance(total, cp.ndarray)
    assert total.shape == ()
    assert float(total) == 3


def test_work_is_recorded(cp: Any) -> None:  # noqa: F811
    count = cp.RawModule(code=SOURCE).get_function("count")
    n = cp.zeros(1, "uint32")
    with cp.record() as work:
        count((2,), (3,), (n, np.int32(1)))
        n + n
    assert [(w.kind, w.name) for w in work] == [("kernel", "count"), ("cupy", "add")]
    assert work[0].bytes_written == 4


def test_order_of_calls_on_streams(cp: Any) -> None:  # noqa: F811
    stream = cp.cuda.Stream(non_blocking=True)
    with pytest.raises(RuntimeError, match="never recorded"):
        stream.wait_event(cp.cuda.Event())
    with pytest.raises(RuntimeError, match="null stream"):
        cp.cuda.Stream.null.begin_capture()
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="while it is captured"):
        stream.synchronize()
    stream.end_capture()
    with pytest.raises(RuntimeError, match="measures nothing"):
        cp.cuda.get_elapsed_time(cp.cuda.Event(), cp.cuda.Event())


def test_a_program_runs_on_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import cupy\nprint(cupy.__version__, cupy.ones(2).sum())")
    root = Path(cuda_emulator.__file__).parents[2]
    command = [sys.executable, "-m", "tests.cuda_emulator", str(tmp_path / "program.py")]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["14.2.0+emulated", "array(2.)"]
    assert "emulated" in result.stderr
