"""What this machine offers and what minissr makes of it: `python -m minissr.doctor [--warm]`.

Versions, the processor and its registers, threads and the layer they run on, where compiled kernels
are kept, what there is of a GPU, and for each backend whether it is ready or what is missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
import time
from typing import Any

import minissr
from minissr import cli
from minissr.errors import BackendUnavailable

PACKAGES = ("numpy", "numba", "tbb", "opencv-python", "matplotlib", "safetensors")


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="python -m minissr.doctor",
        description="Versions, processor, threads, backends, and where compiled kernels are kept.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python -m minissr.doctor --warm",
    )
    parser.add_argument(
        "--warm",
        action="store_true",
        help="compile every kernel that training and prediction use, so that neither waits",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    for line in (*versions(), *numba_report(), *gpu_report(), *backend_report()):
        print(line)
    if arguments.warm:
        warm()
    return 0


def versions() -> list[str]:
    """The packages that matter, each with its version or that it is missing."""
    lines = [f"{'Python':<15} {platform.python_version()} on {platform.platform()}"]
    lines.append(f"{'minissr':<15} {minissr.__version__}")
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        lines.append(f"{name:<15} {version}")
    return lines


def numba_report() -> list[str]:
    """Processor, registers, threads and the folder of compiled kernels."""
    try:
        import llvmlite.binding as llvm

        from minissr.kernels import cache, simd, threads
    except ImportError as error:
        return [f"{'numba backend':<15} unavailable ({error}): pip install numba"]
    folder = cache.folder()
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder else 0
    kept = f"{folder} ({size / 1e6:.1f} MB)" if folder else "nowhere; set MINISSR_CACHE"
    return [
        f"{'processor':<15} {llvm.get_host_cpu_name()}; registers of {simd.LANES} float32",
        f"{'threads':<15} {threads.get_threads()} of {threads.available()}, on {threads.layer()}",
        f"{'BLAS':<15} {'held to one thread' if threads.quiet_blas() else 'not found; left alone'}",
        f"{'kernels':<15} {kept}",
    ]


def gpu_report() -> list[str]:
    """CuPy, driver, device and compiler."""
    from minissr.kernels import device

    return [f"{name:<15} {found}" for name, found in device.describe().items()]


def backend_report() -> list[str]:
    """Whether each backend can run here, and if not, what it lacks."""
    from minissr.kernels.backend import resolve

    lines = []
    for name in ("numpy", "numba", "cupy"):
        try:
            resolve(name)
            answer = "ready"
        except BackendUnavailable as error:
            answer = str(error).removeprefix(f"backend {name} ")
        lines.append(f"{'backend ' + name:<15} {answer}")
    return lines


def warm() -> None:
    """Compile what training and prediction use, by using it once on a few grey images."""
    for what, use in (("prediction", use_prediction), ("training", use_training)):
        started = time.perf_counter()
        use()
        print(f"{what:<15} ready after {time.perf_counter() - started:.1f} s")


def grey_images() -> Any:
    import numpy as np

    return np.full((2, 64, 64, 3), 128, np.uint8)


def use_prediction() -> None:
    """One batch and one single image through the inference engine."""
    from minissr.models.inference import InferenceEngine
    from minissr.models.ssrnet import SSRNet

    engine = InferenceEngine(SSRNet())
    engine(grey_images())
    engine(grey_images()[:1])


def use_training() -> None:
    """One step of training."""
    import numpy as np

    from minissr.models.ssrnet import SSRNet
    from minissr.training.optim import Adam

    model = SSRNet()
    optimizer = Adam(model.parameters(), 1e-3)
    loss, _ = model.loss(grey_images(), np.zeros(2, np.float32), np.random.default_rng(0))
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    sys.exit(cli.run(main))
