"""Is there a GPU to compute on, and if not, what is missing?

Four things have to be there: the package CuPy, NVIDIA's driver, a device, and NVRTC, the compiler
that turns the `.cu` files into the device's machine code when they are first used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import shutil
import subprocess
import textwrap
from typing import Any

OLDEST = (6, 1)  # GTX 10 series; every .cu file is compiled for it in the tests
OLDEST_OF_CUDA_13 = (7, 5)
INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100  # cudaError_t
INSTALL_12 = 'pip install "cupy-cuda12x[ctk]"'
INSTALL_13 = 'pip install "cupy-cuda13x[ctk]"'


def cupy_installed() -> bool:
    """Whether CuPy can be found; it is not imported."""
    return importlib.util.find_spec("cupy") is not None


def why_no_gpu() -> str | None:
    """What keeps `--backend cupy` from working here, as the end of a sentence; None if nothing."""
    if not cupy_installed():
        return (
            f"CuPy, which is not installed: {INSTALL_12} (or cupy-cuda13x for a driver of CUDA 13)"
        )
    try:
        cp = importlib.import_module("cupy")
    except Exception as error:  # a broken installation can raise anything
        return f"CuPy, which is installed but can't be imported ({first_line(error)}): {INSTALL_12}"
    return missing_device(cp) or missing_compiler(cp)


def missing_device(cp: Any) -> str | None:
    """What is wrong with driver or device, or None."""
    try:
        count = cp.cuda.runtime.getDeviceCount()
    except cp.cuda.runtime.CUDARuntimeError as error:
        if error.status == INSUFFICIENT_DRIVER:
            return (
                "NVIDIA's driver, and there is none or one too old for this CuPy: install a newer "
                "one from nvidia.com/drivers, or compute on the CPU with --backend numba"
            )
        if error.status == NO_DEVICE:
            return "an NVIDIA GPU, and the driver finds none: use --backend numba"
        return f"a GPU, and asking for one failed ({first_line(error)}): use --backend numba"
    if not count:
        return "an NVIDIA GPU, and the driver finds none: use --backend numba"
    capability = str(cp.cuda.Device().compute_capability)
    if (int(capability[:-1]), int(capability[-1])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return (
            f"a GPU of compute capability {oldest} (GTX 10 series) or newer, and this one has "
            f"{capability[:-1]}.{capability[-1]}: use --backend numba"
        )
    return None


def missing_compiler(cp: Any) -> str | None:
    """What is wrong with NVRTC, or None."""
    try:
        major, _ = cp.cuda.nvrtc.getVersion()
    except Exception as error:  # CuPy's loader raises its own kinds, by version
        return (
            f"the CUDA compiler NVRTC, which CuPy doesn't find ({first_line(error)}): {INSTALL_12}"
        )
    capability = str(cp.cuda.Device().compute_capability)
    if major >= 13 and (int(capability[:-1]), int(capability[-1])) < OLDEST_OF_CUDA_13:
        return (
            f"CUDA 12 for a GPU of compute capability {capability[:-1]}.{capability[-1]}, which "
            f"CUDA {major} no longer compiles for: pip uninstall cupy-cuda13x && {INSTALL_12}"
        )
    return None


def first_line(error: Exception) -> str:
    """The error's own words, shortened."""
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return textwrap.shorten(words, 120, placeholder=" ...")


@functools.lru_cache(maxsize=1)
def gpu_answers() -> bool:
    """Whether a GPU can be used; asked once. Without CuPy this costs nothing."""
    return cupy_installed() and why_no_gpu() is None


def describe() -> dict[str, str]:
    """What there is, for `doctor`: CuPy, driver, device, compiler, each in a few words."""
    found = {"cupy": "not installed", "driver": driver_version()}
    if cupy_installed():
        try:
            cp = importlib.import_module("cupy")
        except Exception as error:
            found["cupy"] = f"can't be imported ({first_line(error)})"
        else:
            found["cupy"] = cp.__version__
            found["device"] = device_name(cp)
            found["compiler"] = compiler_version(cp)
    return found


def driver_version() -> str:
    """What `nvidia-smi` says, which also works without CuPy."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi not found"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (
        (result.stdout or result.stderr).strip().splitlines()[0] if result.stdout else "no answer"
    )


def device_name(cp: Any) -> str:
    """Name, compute capability and memory of the current device."""
    try:
        properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
    except Exception as error:
        return first_line(error)
    gigabytes = properties["totalGlobalMem"] / 2**30
    return (
        f"{properties['name'].decode()}, compute capability "
        f"{properties['major']}.{properties['minor']}, {gigabytes:.1f} GB"
    )


def compiler_version(cp: Any) -> str:
    """The version of NVRTC."""
    try:
        return ".".join(map(str, cp.cuda.nvrtc.getVersion()))
    except Exception as error:
        return first_line(error)
