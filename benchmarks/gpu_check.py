"""For whoever has an NVIDIA card: is everything right on it, and how fast is it? One file to send.

    python -m benchmarks.gpu_check [--batch 50] [--out gpu_report.json]

The kernels were written where there is no GPU (README, "CUDA: what ran and what never did"); this
is the run that is missing. It checks every kernel against its NumPy twin in float32 and float64,
that the same inputs give the same bits twice, the parts that only hardware can exercise (a copy
beside a computation, inference as a CUDA graph), and, where NVIDIA's compute-sanitizer is
installed, the kernels for memory errors, races and barriers. Then a training step and an inference
pass are timed by CUDA events, beside the bound of `benchmarks.gpu_model` for this card and beside
PyTorch if it is installed and sees the card. A part that fails is written down, and the rest goes
on. Exit code 0: all right; 1: something is wrong; 5: no GPU can be used here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minissr.kernels import cuda, device

# A GPU fuses multiplications with additions, flushes the smallest numbers to 0 and has an exp and a
# tanh of its own; the emulator's bounds of 1e-5 and 1e-12 are too narrow for it.
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
ROUNDS, STEPS = 9, 20  # of a timing; steps between two events
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
SANITIZED = 1800  # seconds a tool may take


# ---- correctness ------------------------------------------------------------------------------


def check_kernels() -> dict[str, Any]:
    """Every case of tests/cuda/cases.py: how far from NumPy, and whether it repeats."""
    from tests.cuda.cases import CASES

    rows = []
    for name in CASES:
        for dtype in TOLERANCE:
            rows.append(checked(lambda n=name, d=dtype: check_case(n, d), case=name, dtype=dtype))
    return {"right": all(row["right"] for row in rows), "cases": rows}


def check_case(name: str, dtype: str) -> dict[str, Any]:
    """One case in one dtype."""
    from tests.cuda.cases import results
    from tests.cuda.test_emulated import difference

    wanted, got, again = (results(name, b, dtype) for b in ("numpy", "cupy", "cupy"))
    off = max(difference(g, w) for g, w in zip(got, wanted, strict=True))
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(got, again, strict=True))
    return {"right": off <= TOLERANCE[dtype] and same, "off": off, "repeats": same}


def checked(run: Callable[[], dict[str, Any]], **about: Any) -> dict[str, Any]:
    """What `run` finds, or the error that it ended with; never an exception."""
    try:
        return {**about, **run()}
    except Exception as error:
        said = "".join(traceback.format_exception_only(error)).strip()
        return {**about, "right": False, "error": said[-2000:]}


def check_training() -> dict[str, Any]:
    """Twenty float64 steps of the network are those of the NumPy backend."""
    from tests.cuda.test_training import losses

    theirs, ours = losses("numpy", "float64", 1e-3), losses("cupy", "float64", 1e-3)
    off = float(abs(ours / theirs - 1).max())
    return {"right": off < 1e-8, "off": off}


def check_graph(batch: int) -> dict[str, Any]:
    """Inference as a CUDA graph gives the ages that launches give."""
    from minissr.models.device_inference import DeviceRun

    images, _ = batch_of(batch)
    model = network()
    plain, graph = np.empty(batch, np.float32), np.empty(batch, np.float32)
    DeviceRun(model)(images, plain)
    run = DeviceRun(model, graph=True)
    for _ in range(2):  # captured, then launched again
        run(images, graph)
    return {"right": bool(np.array_equal(plain, graph))}


def check_feed(batch: int) -> dict[str, Any]:
    """Batches copied beside a computation arrive as they were sent."""
    from minissr.training.feed import feed

    rng = np.random.default_rng(1)
    sent = [
        (rng.integers(0, 256, (batch, 64, 64, 3)).astype(np.uint8), rng.random(batch, np.float32))
        for _ in range(8)
    ]
    model, right = network(), True
    for (images, ages), (there, there_ages, _) in zip(sent, feed(iter(sent), "cupy"), strict=True):
        model.loss(there, there_ages)[0].backward()
        right = right and np.array_equal(there.get(), images)
        right = right and np.array_equal(there_ages.get(), ages)
    return {"right": bool(right)}


def check_sanitizers() -> dict[str, Any]:
    """compute-sanitizer over all cases, a tool at a time."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"right": True, "skipped": "compute-sanitizer is not installed (CUDA toolkit)"}
    found: dict[str, Any] = {"right": True}
    for tool in TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m"]
        command += ["benchmarks.gpu_check", "--cases-only"]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=SANITIZED
            )
        except subprocess.TimeoutExpired:
            found[tool] = f"not done after {SANITIZED} s"
            continue
        found[tool] = {"exit": result.returncode, "said": result.stdout[-3000:]}
        found["right"] = found["right"] and result.returncode == 0
    return found


# ---- speed ------------------------------------------------------------------------------------


def network(training: bool = True) -> Any:
    """The default network on the device."""
    from minissr.models.ssrnet import SSRNet

    model = SSRNet().to("cupy")
    return model.train(training)


def batch_of(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise for faces, and ages in years."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 64, 64, 3)).astype(np.uint8)
    return images, rng.uniform(0, 100, batch).astype(np.float32)


def our_step(batch: int) -> Callable[[], Any]:
    """A training step, its copies from the host included."""
    from minissr.training.optim import Adam

    model = network()
    optimizer = Adam(model.parameters())
    images, ages = batch_of(batch)

    def step() -> None:
        model.zero_grad()
        loss, _ = model.loss(images, ages, rng=np.random.default_rng(0))
        loss.backward()
        optimizer.step()

    return step


def our_answer(batch: int, graph: bool) -> Callable[[], Any]:
    """An inference pass, from faces to ages on the host."""
    from minissr.models.device_inference import DeviceRun

    run, images, ages = DeviceRun(network(), graph=graph), batch_of(batch)[0], np.empty(batch, "f4")
    return lambda: run(images, ages)


def torch_step(batch: int) -> Callable[[], Any] | None:
    """The same step in PyTorch, channels last; None where it is missing or sees no card."""
    model = torch_network()
    if model is None:
        return None
    import torch

    images, ages = (torch.from_numpy(a).cuda() for a in batch_of(batch))
    pixels = images.permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        (model(pixels) - ages).abs().mean().backward()
        optimizer.step()

    return step


def torch_answer(batch: int) -> Callable[[], Any] | None:
    """The same inference pass in PyTorch."""
    model = torch_network()
    if model is None:
        return None
    import torch

    images = torch.from_numpy(batch_of(batch)[0])
    model.eval()

    def answer() -> None:
        with torch.inference_mode():
            pixels = images.cuda().permute(0, 3, 1, 2).float()
            model(pixels.contiguous(memory_format=torch.channels_last)).cpu()

    return answer


def torch_network() -> Any:
    """SSR-Net of benchmarks/peers on the card, or None."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    from benchmarks.peers import torch_peer
    from minissr.models.ssrnet import SSRNet

    torch.set_default_device("cuda")  # the network makes small constants as it goes
    ours: Any = SSRNet()
    compact = ours.settings.compact
    plan = [
        (level, round((stage.delta.w.shape[0] / compact) ** 0.5), stage.pool)
        for level, stage in zip(ours.levels, ours.stages, strict=True)
    ]
    model = torch_peer.SSRNet(ours.config(), plan)
    return model.to("cuda", memory_format=torch.channels_last)


def timed(run: Callable[[], Any] | None, batch: int, events: Any) -> dict[str, Any]:
    """Median and quartiles of a pass in ms; `events` are CuPy's or PyTorch's."""
    if run is None:
        return {"skipped": "PyTorch is not installed, or sees no GPU"}
    for _ in range(5):
        run()
    rounds = [elapsed(run, events) for _ in range(ROUNDS)]
    low, middle, high = np.percentile(rounds, [25, 50, 75])
    return {
        "ms": float(middle),
        "quartiles_ms": [float(low), float(high)],
        "images_per_s": batch / float(middle) * 1e3,
    }


def elapsed(run: Callable[[], Any], events: Any) -> float:
    """Milliseconds of one pass, the mean of STEPS of them."""
    start, stop = events.pair()
    start.record()
    for _ in range(STEPS):
        run()
    stop.record()
    stop.synchronize()
    return float(events.milliseconds(start, stop)) / STEPS


class CupyEvents:
    """CUDA events by CuPy."""

    def pair(self) -> tuple[Any, Any]:
        return cuda.xp().cuda.Event(), cuda.xp().cuda.Event()

    def milliseconds(self, start: Any, stop: Any) -> float:
        return float(cuda.xp().cuda.get_elapsed_time(start, stop))


class TorchEvents:
    """CUDA events by PyTorch."""

    def pair(self) -> tuple[Any, Any]:
        import torch

        return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def milliseconds(self, start: Any, stop: Any) -> float:
        return float(start.elapsed_time(stop))


def measure(batch: int) -> dict[str, Any]:
    """All timings, each with an error of its own."""
    cupy_events, torch_events = CupyEvents(), TorchEvents()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "training step": lambda: timed(our_step(batch), batch, cupy_events),
        "training step, PyTorch": lambda: timed(torch_step(batch), batch, torch_events),
        "inference": lambda: timed(our_answer(batch, False), batch, cupy_events),
        "inference, as a graph": lambda: timed(our_answer(batch, True), batch, cupy_events),
        "inference, PyTorch": lambda: timed(torch_answer(batch), batch, torch_events),
    }
    return {name: checked(part) for name, part in parts.items()}


def bounds(batch: int) -> dict[str, Any]:
    """What `benchmarks.gpu_model` counts and says, from a process in which cupy is the stand-in."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        command = [sys.executable, "-m", "benchmarks.gpu_model", "--batch", str(batch), "--json"]
        result = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        if result.returncode:
            return {"skipped": (result.stderr or result.stdout).strip()[-500:]}
        return {one["name"]: one for one in json.loads(path.read_text())}


def this_card() -> dict[str, Any]:
    """Peak operations and bandwidth from what the driver says of clocks and widths."""
    runtime, here = cuda.xp().cuda.runtime, cuda.xp().cuda.Device()
    p = runtime.getDeviceProperties(here.id)
    cores = {(6, 0): 64, (7, 0): 64, (7, 5): 64, (8, 0): 64}.get((p["major"], p["minor"]), 128)
    clock, memory_clock = p.get("clockRate", 0), p.get("memoryClockRate", 0)  # kHz; newer: gone
    return {
        "flops": 2e3 * clock * p["multiProcessorCount"] * cores,
        "bandwidth": 2e3 * memory_clock * p.get("memoryBusWidth", 0) / 8,
    }


def against_bound(times: dict[str, Any], model: dict[str, Any], card: dict[str, Any]) -> None:
    """Add to each of our timings the bound of the fused ideal on this card, and the ratio."""
    for name, counted in (("training step", "training step"), ("inference", "inference pass"),
                          ("inference, as a graph", "inference pass")):  # fmt: skip
        one, time_ = model.get(counted), times.get(name, {})
        if not isinstance(one, dict) or "ms" not in time_ or not all(card.values()):
            continue
        least = max(one["flops"] / card["flops"], one["ideal_bytes"] / card["bandwidth"]) * 1e3
        time_["bound_ms"], time_["times_bound"] = least, time_["ms"] / least


# ---- the report -------------------------------------------------------------------------------


def collect(batch: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, in the order of the head of this module."""
    report: dict[str, Any] = {"about": about()}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "kernels": check_kernels,
        "training": check_training,
        "copies beside computation": lambda: check_feed(batch),
        "graph": lambda: check_graph(batch),
        "compute-sanitizer": check_sanitizers,
    }
    for name, part in parts.items():
        started = time.perf_counter()
        report[name] = checked(part)
        verdict = report[name].get("skipped") or ("right" if report[name]["right"] else "WRONG")
        say(f"{name:<28} {verdict} ({time.perf_counter() - started:.0f} s)")
    report["times"], report["model"] = measure(batch), bounds(batch)
    against_bound(report["times"], report["model"], checked(this_card))
    for name, found in report["times"].items():
        if "ms" in found:
            bound = f", {found['times_bound']:.1f}x the bound" if "times_bound" in found else ""
            say(f"{name:<28} {found['ms']:.3f} ms, {found['images_per_s']:,.0f} images/s{bound}")
        else:
            say(f"{name:<28} {found.get('skipped') or found.get('error')}")
    report["right"] = all(report[name]["right"] for name in parts)
    return report


def about() -> dict[str, Any]:
    """Card, driver, versions, and which text of the kernels this is."""
    import minissr

    sources = sorted(Path(device.__file__).parent.rglob("*.cu*"))
    text = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    return {
        **device.describe(),
        "minissr": minissr.__version__,
        "kernels": text.hexdigest()[:16],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, time, write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=50, help="images in a batch (50)")
    parser.add_argument("--out", type=Path, default=Path("gpu_report.json"), help="the report")
    parser.add_argument("--cases-only", action="store_true", help="run the kernels, nothing else")
    given = parser.parse_args(arguments)
    if missing := device.why_no_gpu():
        print(f"gpu_check needs {missing}", file=sys.stderr)
        return 5
    if given.cases_only:
        return 0 if check_kernels()["right"] else 1
    report = collect(given.batch, lambda line: print(line, flush=True))
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    verdict = "All right." if report["right"] else "Something is wrong."
    print(f"{verdict} Please send {given.out}.")
    return 0 if report["right"] else 1


if __name__ == "__main__":
    sys.exit(main())
