"""NVRTC by ctypes: compiling CUDA to machine code needs neither a GPU nor a driver.

The compiler is looked for in the wheels `nvidia-cuda-nvrtc-cu12` and `nvidia-cuda-nvrtc` (CUDA 13),
installed in this environment or in the folder that MINISSR_GPU_WHEELS names.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Usage:
    """What ptxas says about one kernel on one architecture."""

    kernel: str
    registers: int
    shared_bytes: int  # static
    spill_bytes: int  # stores and loads together


class CompileError(RuntimeError):
    """The compiler refused the source."""


def folders() -> list[Path]:
    """Where wheels may be unpacked."""
    named = os.environ.get("MINISSR_GPU_WHEELS")
    return [Path(named)] if named else [Path(p) for p in sys.path if p]


def find(major: int) -> Path | None:
    """The NVRTC library of CUDA `major`, or None."""
    for folder in folders():
        for path in sorted(folder.glob(f"nvidia/*/lib/libnvrtc.so.{major}")):
            return path
    return None


class Nvrtc:
    """One version of the compiler."""

    def __init__(self, path: Path) -> None:
        # NVRTC opens its companion by name only; loading that first makes the name known.
        for companion in path.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(companion))
        self.library = ctypes.CDLL(str(path))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def _check(self, status: int) -> None:
        if status:
            raise CompileError(self.library.nvrtcGetErrorString(status).decode())

    def version(self) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return major.value, minor.value

    def architectures(self) -> list[int]:
        """The compute capabilities it knows, 61 for 6.1."""
        count = ctypes.c_int()
        self._check(self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self.library.nvrtcGetSupportedArchs(found))
        return list(found)

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, text))
        return text.raw

    def compile(self, source: str, arch: int, options: Sequence[str] = ()) -> list[Usage]:
        """Compile to machine code for sm_`arch` as CuPy would; what each kernel uses.

        Raises CompileError with the compiler's messages, also for warnings of ours.
        """
        program = ctypes.c_void_p()
        self._check(
            self.library.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
            )
        )
        try:
            words = [
                w.encode()
                for w in (f"-arch=sm_{arch}", "-ftz=true", "--ptxas-options=-v", *options)
            ]
            array = (ctypes.c_char_p * len(words))(*words)
            status = self.library.nvrtcCompileProgram(program, len(words), array)
            log = self._text(program, "ProgramLog").rstrip(b"\0").decode()
            if status:
                raise CompileError(log)
            if not self._text(program, "CUBIN"):
                raise CompileError("no machine code came out")
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return usages(log)


def usages(log: str) -> list[Usage]:
    """Read the output of `ptxas -v`."""
    found = []
    entries = list(ENTRY.finditer(log))
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        text = log[entry.end() : following.start() if following else len(log)]
        spills, registers = SPILLS.search(text), REGISTERS.search(text)
        if spills is None or registers is None:
            raise CompileError(f"can't read what ptxas says of {entry['name']}:\n{text}")
        shared = SHARED.search(text)
        found.append(
            Usage(
                entry["name"],
                int(registers[1]),
                int(shared[1]) if shared else 0,
                int(spills[1]) + int(spills[2]),
            )
        )
    return found


@functools.lru_cache(maxsize=2)
def load(major: int) -> Nvrtc | None:
    """The compiler of CUDA `major` if it is installed."""
    path = find(major)
    return Nvrtc(path) if path else None
