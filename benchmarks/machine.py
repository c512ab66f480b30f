"""What a measurement was made on and with, written beside every result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = (
    "numpy numba llvmlite tbb torch tensorflow tensorflow-cpu keras jax jaxlib onnx onnxruntime "
    "openvino ai-edge-litert opencv-python"
).split()

# These make OpenBLAS choose older kernels than the processor could run.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def describe() -> dict[str, Any]:
    """The processor, its caches, memory and system, as plain values."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(total_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def processor_name() -> str:
    """As the system calls it; with the family and model numbers, since names can be vague."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def total_memory() -> int:
    """Bytes of memory; 0 where the system doesn't say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def versions() -> dict[str, str]:
    """Of the packages here that take part in any measurement."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The revision that is measured, with a + if files of the package were changed since."""
    try:
        head = git("rev-parse", "--short=10", "HEAD")
        return head + ("+" if git("status", "--porcelain", "--", "minissr") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def git(*arguments: str) -> str:
    """What git says, in one piece."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def load() -> float:
    """Processes that wanted to run in the last minute, on average."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return -1.0


def environment(threads: int) -> dict[str, str]:
    """What a measuring process starts with: `threads` for everybody, no old BLAS kernels."""
    kept = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    count = str(threads)
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")])),
        "OMP_NUM_THREADS": count,
        "NUMBA_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }
