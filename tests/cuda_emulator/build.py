"""Compiling translated kernels with g++, once for each distinct text.

Three modes. `fast` is a library that is loaded into this process. `asan` and `tsan` are programs
that run one launch under AddressSanitizer (with UndefinedBehaviorSanitizer) or ThreadSanitizer.
What was built is kept in CUDA_EMULATOR_CACHE, by default a folder in the system's temporary one.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cuda_emulator.source import EmulatorError, Kernel, translate

RUNTIME = Path(__file__).parent / "runtime"
MODES = ("fast", "asan", "tsan")
COMMON = ("-std=c++17", "-x", "c++", "-w", "-fno-strict-aliasing", "-ffp-contract=off")
FLAGS = {
    "fast": ("-O2", "-shared", "-fPIC"),
    "asan": (
        "-O1",
        "-g",
        "-DEMULATOR_MAIN",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-sanitize=float-divide-by-zero",
    ),
    "tsan": ("-O1", "-g", "-DEMULATOR_MAIN", "-fsanitize=thread"),
}


def why_not() -> str | None:
    """What keeps the emulator from working here, or None."""
    if platform.machine() not in ("x86_64", "AMD64") or os.name != "posix":
        return "the CUDA emulator needs Linux on x86-64"
    if shutil.which("g++") is None:
        return "the CUDA emulator needs g++, which is not installed"
    return None


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    default = Path(tempfile.gettempdir()) / f"cuda_emulator-{os.getuid()}"
    return Path(os.environ.get("CUDA_EMULATOR_CACHE", default))


@functools.lru_cache(maxsize=1)
def runtime_text() -> str:
    """The headers: part of what a compiled kernel depends on."""
    return "".join(path.read_text() for path in sorted(RUNTIME.glob("*.h")))


def build(source: str, options: Sequence[str], mode: str) -> tuple[Path, dict[str, Kernel]]:
    """The library (`fast`) or program (`asan`, `tsan`) of CUDA `source`, and its kernels."""
    code, kernels = translate(source, options)
    flags = (*FLAGS[mode], *COMMON)
    digest = hashlib.sha256("\0".join([code, runtime_text(), *flags]).encode()).hexdigest()
    path = cache_folder() / f"{digest[:24]}.{'so' if mode == 'fast' else mode}"
    if not path.exists():
        if reason := why_not():
            raise EmulatorError(reason)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        command = ["g++", *flags, "-I", str(RUNTIME), "-o", str(partial), "-"]
        result = subprocess.run(command, input=code, text=True, capture_output=True, check=False)
        if result.returncode:
            raise EmulatorError("g++ refuses the kernel:\n" + result.stderr[:4000])
        os.replace(partial, path)
    return path, kernels
