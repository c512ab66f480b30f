"""What is said when there is nothing to compute on: one sentence, the remedy, exit code 5."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from typing import Any

import pytest

from minissr import cli, doctor
from minissr.errors import BackendUnavailable
from minissr.kernels import KERNELS, backend, device
from tests.cuda.test_names import real_cupy


def refusal() -> str:
    with pytest.raises(BackendUnavailable) as caught:
        backend.resolve("cupy")
    assert caught.value.exit_code == 5
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_stand_in_is_accepted(cp: Any) -> None:
    assert backend.resolve("cupy") == "cupy"
    assert backend.resolve("auto") == "cupy"


def test_auto_is_the_cpu_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    device.gpu_answers.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    backend.numba_installed.cache_clear()
    assert backend.resolve("auto") == "numpy"
    device.gpu_answers.cache_clear()
    backend.numba_installed.cache_clear()


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cupy_installed", lambda: False)
    assert 'pip install "cupy-cuda12x[ctk]"' in refusal()


def test_broken_cupy(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    text = refusal()
    assert "can't be imported (libcublas.so.12" in text
    assert "pip install" in text


@pytest.mark.parametrize(
    ("status", "said"),
    [(35, "nvidia.com/drivers"), (100, "the driver finds none"), (999, "failed (error 999)")],
)
def test_no_driver_or_device(
    cp: Any, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    def fail() -> int:
        raise cp.cuda.runtime.CUDARuntimeError(status)

    monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", fail)
    text = refusal()
    assert said in text
    assert "--backend numba" in text


def test_an_old_card(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.cuda.Device, "compute_capability", "52")
    assert "6.1 (GTX 10 series) or newer, and this one has 5.2" in refusal()


def test_a_card_that_cuda_13_dropped(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cp.cuda.Device, "compute_capability", "61")
    assert backend.resolve("cupy") == "cupy"
    monkeypatch.setattr(cp.cuda.nvrtc, "getVersion", lambda: (13, 0))
    remedy = 'pip uninstall cupy-cuda13x && pip install "cupy-cuda12x[ctk]"'
    assert f"CUDA 13 no longer compiles for: {remedy}" in refusal()


def test_no_compiler(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise RuntimeError('Failure finding "libnvrtc.so.12": No such file\nand more')

    monkeypatch.setattr(cp.cuda.nvrtc, "getVersion", missing)
    text = refusal()
    assert 'NVRTC, which CuPy doesn\'t find (Failure finding "libnvrtc.so.12"' in text
    assert 'pip install "cupy-cuda12x[ctk]"' in text


def test_out_of_memory_is_a_sentence(cp: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def train() -> int:
        raise cp.cuda.memory.OutOfMemoryError("Out of memory allocating 1,073,741,824 bytes")

    assert cli.run(train) == 5
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--batch-size" in said


def test_the_report_of_doctor(cp: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {line[:15].strip(): line[16:] for line in lines}
    assert found["cupy"].endswith("+emulated")
    assert "compute capability 9.0" in found["device"]
    assert found["compiler"].startswith("12.")
    assert "driver" in found
    assert found["backend cupy"] == "ready"


def test_doctor_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "cupy_installed", lambda: False)
    assert doctor.main([]) == 0
    said = capsys.readouterr().out
    assert "cupy            not installed\n" in said
    assert "backend cupy    needs CuPy, which is not installed: pip install" in said


@pytest.mark.gpu_rungs
def test_the_real_cupy_without_a_driver() -> None:
    """It imports, and the sentence names what is missing, as in all cases above."""
    code = (
        "import sys\n"
        "from minissr import cli\n"
        "from minissr.kernels.backend import resolve\n"
        "sys.exit(cli.run(lambda: resolve('cupy') and 0))\n"
    )
    result = real_cupy(code)
    if result.returncode == 0:
        pytest.skip("there is a GPU here")
    assert result.returncode == 5
    assert result.stderr.count("\n") == 1
    assert "backend cupy needs" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.gpu_rungs
def test_the_real_cupy_out_of_memory() -> None:
    code = (
        "import sys, cupy\n"
        "from minissr import cli\n"
        "def train():\n"
        "    raise cupy.cuda.memory.OutOfMemoryError(2**30, 2**33)\n"
        "sys.exit(cli.run(train))\n"
    )
    result = real_cupy(code)
    assert result.returncode == 5
    assert result.stderr.count("\n") == 1
    assert "try half the --batch-size" in result.stderr


@pytest.mark.gpu_rungs
def test_the_real_cupy_without_a_compiler() -> None:
    """What its loader raises is understood: CuPy looks for NVRTC beside Python, not in a folder."""
    code = (
        "import cupy\n"
        "from minissr.kernels import device\n"
        "try:\n"
        "    cupy.cuda.nvrtc.getVersion()\n"
        "except Exception:\n"
        "    print(device.missing_compiler(cupy))\n"
    )
    result = real_cupy(code)
    assert result.returncode == 0, result.stderr
    if not result.stdout:
        pytest.skip("CuPy finds a compiler here")
    assert result.stdout.startswith("the CUDA compiler NVRTC, which CuPy doesn't find (")
    assert result.stdout.endswith('): pip install "cupy-cuda12x[ctk]"\n')


@pytest.mark.gpu_rungs
def test_importing_minissr_leaves_the_real_cupy_alone() -> None:
    code = (
        "import sys, minissr, minissr.kernels.backend, minissr.kernels.conv2d.cupy_gpu\n"
        "assert 'cupy' not in sys.modules\n"
    )
    result = real_cupy(code)
    assert result.returncode == 0, result.stderr


def test_the_modules_of_the_kernels_import_without_cupy() -> None:
    families = sorted(set(KERNELS.values()))
    imports = "".join(f"import minissr.kernels.{family}.cupy_gpu\n" for family in families)
    code = f"import sys\nsys.modules['cupy'] = None\n{imports}"
    subprocess.run([sys.executable, "-c", code], check=True)
