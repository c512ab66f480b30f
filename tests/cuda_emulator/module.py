"""Compiling CUDA source and launching its kernels on NumPy arrays.

    module = Module(text, options=("-DREAL=float",))
    module.launch("scale", grid=(4,), block=(64,), arguments=(x, y, np.int32(n)))

A launch is checked as strictly as a device is unforgiving: the number of arguments, the exact type
of each (a Python int would arrive as 8 bytes where the kernel reads 4), contiguity, the limits on
grid and block. How threads are ordered, and whether a sanitizer watches, is said by `running`:

    with running(mode="tsan", order="random", seed=3):
        module.launch(...)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.cuda_emulator.build import MODES, build
from tests.cuda_emulator.source import EmulatorError, needs_fibers

ORDERS = ("forward", "reverse", "random", "warps", "strided")
SANITIZER_SETTINGS = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "exitcode=66:halt_on_error=1:history_size=4",
}
VALUE, ARRAY, NULL = 0, 1, 2


@dataclass(frozen=True)
class Running:
    """How launches are run.

    Attributes
    ----------
    mode : "fast" | "asan" | "tsan"
        In this process, or each launch in a child process under a sanitizer.
    order : str
        Of threads and blocks, one of `ORDERS`.
    seed : int
        Of the random orders.
    """

    mode: str = os.environ.get("CUDA_EMULATOR_MODE", "fast")
    order: str = os.environ.get("CUDA_EMULATOR_ORDER", "forward")
    seed: int = int(os.environ.get("CUDA_EMULATOR_SEED", "1"))

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is none of {', '.join(MODES)}")
        if self.order not in ORDERS:
            raise ValueError(f"order {self.order!r} is none of {', '.join(ORDERS)}")


_running = Running()


@contextlib.contextmanager
def running(**changes: Any) -> Iterator[Running]:
    """Inside the `with` block launches are run with other settings; see `Running`."""
    global _running
    before, _running = _running, replace(_running, **changes)
    try:
        yield _running
    finally:
        _running = before


class Geometry(ctypes.Structure):
    """`emulator::Geometry` of runtime/cuda.h."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_ulonglong),
        ("with_fibers", ctypes.c_ulonglong),
        ("order", ctypes.c_ulonglong),
        ("seed", ctypes.c_ulonglong),
    )


class Module:
    """CUDA source, compiled for the CPU.

    Parameters
    ----------
    source : str
        CUDA C++. Every `extern "C" __global__` function can be launched.
    options : sequence of str
        NVRTC options; `-D` is honoured.
    """

    def __init__(self, source: str, options: Sequence[str] = ()) -> None:
        self.source, self.options = source, tuple(options)
        # The types of the parameters come from the compiled library, whatever the mode.
        path, self.kernels = build(source, options, "fast")
        self.library = ctypes.CDLL(str(path))
        self.library.emulator_message.restype = ctypes.c_char_p
        self.with_fibers = needs_fibers(source)

    def parameters(self, name: str) -> list[tuple[str, str, np.dtype]]:
        """(name, "=" value | "r" pointer to const | "w" pointer, dtype) of each parameter."""
        describe = getattr(self.library, f"emulator_describe_{name}")
        describe.restype = ctypes.c_char_p
        types = describe().decode().split()
        return [
            (parameter, word[0], np.dtype("?" if word[-2:] == "b1" else word.lstrip("=rw*")))
            for parameter, word in zip(self.kernels[name].parameters, types, strict=True)
        ]

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        shared: int = 0,
    ) -> None:
        """Run kernel `name`; raises EmulatorError for anything a device would refuse or garble."""
        if name not in self.kernels:
            raise EmulatorError(f"no kernel {name!r}; there are {sorted(self.kernels)}")
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        self._check_geometry(name, grid, block)
        parameters = self.parameters(name)
        if len(parameters) != len(arguments):
            raise EmulatorError(
                f"{name} takes {len(parameters)} arguments, {len(arguments)} were given"
            )
        checked = [
            check_argument(name, *parameter, argument)
            for parameter, argument in zip(parameters, arguments, strict=True)
        ]
        how = _running
        schedule = (int(self.with_fibers), ORDERS.index(how.order), how.seed)
        if how.mode == "fast":
            self._launch_here(name, Geometry(grid, block, shared, *schedule), checked)
        else:
            self._launch_in_child(how.mode, name, (*grid, *block, shared, *schedule), checked)

    def _check_geometry(self, name: str, grid: Sequence[int], block: Sequence[int]) -> None:
        x, y, z = block
        if min(block) < 1 or x * y * z > 1024 or x > 1024 or y > 1024 or z > 64:
            raise EmulatorError(f"{name}: a block of {block} threads can't be launched")
        if min(grid) < 1 or grid[0] >= 2**31 or grid[1] > 65535 or grid[2] > 65535:
            raise EmulatorError(f"{name}: a grid of {grid} blocks can't be launched")
        bounds = getattr(self.library, f"emulator_bounds_{name}")()
        if x * y * z > bounds:
            raise EmulatorError(f"{name}: {x * y * z} threads exceed its launch bounds, {bounds}")

    def _launch_here(self, name: str, geometry: Geometry, arguments: list[Any]) -> None:
        values = [
            argument
            if kind == VALUE
            else ctypes.c_void_p(None if kind == NULL else argument.ctypes.data)
            for kind, argument in arguments
        ]
        addresses = (ctypes.c_void_p * len(values))(
            *(v.ctypes.data if isinstance(v, np.ndarray) else ctypes.addressof(v) for v in values)
        )
        if getattr(self.library, f"emulator_launch_{name}")(ctypes.byref(geometry), addresses):
            raise EmulatorError(f"{name}: {self.library.emulator_message().decode()}")

    def _launch_in_child(
        self, mode: str, name: str, numbers: Sequence[int], arguments: list[Any]
    ) -> None:
        program, _ = build(self.source, self.options, mode)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "launch")
            with open(path, "wb") as file:
                file.write(struct.pack("<11Q", *numbers, len(arguments)))
                for kind, argument in arguments:
                    data = b"" if kind == NULL else argument.tobytes()
                    file.write(struct.pack("<2Q", len(data), kind) + data)
            result = subprocess.run(
                [str(program), path, name],
                capture_output=True,
                text=True,
                errors="replace",
                env={**os.environ, **SANITIZER_SETTINGS},
                check=False,
            )
            if result.returncode:
                raise EmulatorError(
                    f"{name} [{mode}, exit {result.returncode}]: {result.stderr[:6000]}"
                )
            with open(path, "rb") as file:
                for kind, argument in arguments:
                    if kind == ARRAY:
                        data = np.frombuffer(file.read(argument.nbytes), argument.dtype)
                        argument[...] = data.reshape(argument.shape)


def check_argument(
    kernel: str, parameter: str, access: str, dtype: np.dtype, argument: Any
) -> tuple[int, Any]:
    """(kind, array): the argument as memory of exactly the parameter's type."""
    where = f"{kernel}, argument {parameter!r}"
    if access == "=":
        if not isinstance(argument, np.generic) or argument.dtype != dtype:
            raise TypeError(
                f"{where}: wants np.{dtype.name}(...), got {type(argument).__name__}; a Python int "
                "is passed as 8 bytes and a Python float as a double"
            )
        return VALUE, np.array(argument)
    if argument is None:
        return NULL, None
    if not isinstance(argument, np.ndarray):
        raise TypeError(f"{where}: wants an array of {dtype}, got {type(argument).__name__}")
    if argument.dtype != dtype:
        raise TypeError(f"{where}: wants an array of {dtype}, got one of {argument.dtype}")
    if not argument.flags.c_contiguous:
        raise ValueError(f"{where}: the array is a view with gaps, which a kernel can't see")
    return ARRAY, argument
