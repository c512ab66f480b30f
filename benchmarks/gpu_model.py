"""What a training step and an inference pass ask of a GPU, and how fast one could be at best.

    python -m benchmarks.gpu_model [--batch 50] [--json FILE]

The passes run on the emulated device (tests/cuda_emulator), which writes down every launch and
copy. From that: how many there are, the bytes they move (each array counted once a launch) and
their operations. Beside it the bytes that are moved if everything were fused that can be: the
pixels, the pooled maps, a byte of mask for each of their numbers and the parameters, each written
once and read once on the way forward and, as a gradient, on the way back.

The times are computed from data sheets and are BOUNDS: no launch can end before its operations are
done at the card's peak, nor before its arrays have passed through memory. (Arrays that stay in the
second-level cache from one launch to the next can beat the second; no implementation can beat the
bound of the fused ideal.) Nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FLOAT = 4  # bytes
COPIES = ("to device", "to host")


@dataclass(frozen=True)
class Card:
    """A GPU by its data sheet."""

    name: str
    flops: float  # float32 operations a second, without tensor cores
    bandwidth: float  # of its memory, bytes a second
    link: float  # to the host, bytes a second


CARDS = (
    Card("GTX 1080 Ti", 11.3e12, 484e9, 15.8e9),
    Card("H100 SXM", 66.9e12, 3.35e12, 63e9),
)


@dataclass(frozen=True)
class Launch:
    """A kernel, a copy or a memset."""

    kind: str
    name: str
    bytes: int
    flops: float

    def seconds(self, card: Card) -> float:
        """The least time it takes."""
        if self.kind in COPIES:
            return self.bytes / card.link
        return max(self.flops / card.flops, self.bytes / card.bandwidth)


@dataclass(frozen=True)
class Pass:
    """A training step or an inference pass of one batch."""

    name: str
    batch: int
    launches: tuple[Launch, ...]
    ideal: int  # bytes, on the device

    @property
    def on_device(self) -> list[Launch]:
        return [launch for launch in self.launches if launch.kind not in COPIES]

    @property
    def bytes(self) -> int:
        """Moved in the device's memory."""
        return bytes_of(self.on_device)

    @property
    def flops(self) -> float:
        return math.fsum(launch.flops for launch in self.launches)

    @property
    def excess(self) -> float:
        """Bytes moved over those of the fused ideal."""
        return self.bytes / self.ideal

    def bound(self, card: Card) -> float:
        """Seconds, as launched."""
        return math.fsum(launch.seconds(card) for launch in self.launches)

    def ideal_bound(self, card: Card) -> float:
        """Seconds, if only the fused ideal were moved and everything overlapped."""
        copies = sum(x.bytes for x in self.launches if x.kind in COPIES) / card.link
        return max(self.flops / card.flops, self.ideal / card.bandwidth, copies)


# ---- operations -------------------------------------------------------------------------------


def convolved(a: dict[str, Any]) -> float:
    """Multiplications and additions of a convolution with output z."""
    kh, kw, c = (a["w"].shape if "w" in a else a["parts"].shape[1:])[:3]
    return 2.0 * a["z"].size * kh * kw * c


def answered(a: dict[str, Any]) -> float:
    kh, kw, c, co = a["w"].shape
    n, height, width, _ = a["x"].shape
    return 2.0 * n * (height - kh + 1) * (width - kw + 1) * kh * kw * c * co


def stem_windows(a: dict[str, Any]) -> int:
    n, height, width, _ = a["images"].shape
    return n * (height - 2) * (width - 2)


def compacted(a: dict[str, Any]) -> float:
    """The 1x1 convolutions of a stage, over the pixels that are pooled."""
    rows, columns = a["H"] // a["pool"] * a["pool"], a["W"] // a["pool"] * a["pool"]
    return 2.0 * a["s"].shape[0] * rows * columns * (a["CS"] + a["CX"]) * a["F"]


# Kernels that compute more than an operation for each number they touch.
OPERATIONS: dict[str, Callable[[dict[str, Any]], float]] = {
    "block_convolve": convolved,
    "block_weight_grad": convolved,
    "block_input_grad": convolved,
    "block_answer": answered,
    "stem_moments": lambda a: 2.0 * stem_windows(a) * 405,
    "stem_activate": lambda a: 2.0 * stem_windows(a) * 27 * a["CO"],
    "stem_grad": lambda a: 2.0 * stem_windows(a) * 28 * a["CO"],
    "head_stage": lambda a: compacted(a) + 2.0 * a["u"].size * (2 * a["S"] + 1),
    "head_stage_grad": lambda a: 3 * compacted(a) + 4.0 * a["u"].size * (2 * a["S"] + 1),
}


# Kernels that also read what they write; the recording counts such arrays as written only.
READ_TOO: dict[str, Callable[[dict[str, Any]], int]] = {
    "block_input_grad": lambda a: int(a["gx"].nbytes if a["add"] else 0),
    "adam_step": lambda a: int(a["param"].nbytes + a["m"].nbytes + a["v"].nbytes),
}


def reread(name: str, a: dict[str, Any]) -> int:
    """Bytes that a kernel reads of what it writes.

    Where blocks count their arrival, the last one reads the sums that all have left behind.
    """
    if "arrived" in a:
        return sum(int(a[sums].nbytes) for sums in ("parts", "small") if sums in a)
    return READ_TOO[name](a) if name in READ_TOO else 0


def as_launch(work: Any) -> Launch:
    """What the recording says, with operations."""
    from minissr.kernels.cuda import declarations

    moved = work.bytes_read + work.bytes_written
    if work.kind in COPIES:
        return Launch(work.kind, work.name, work.bytes_read, 0.0)
    if work.kind != "kernel":
        return Launch(work.kind, work.name, moved, moved / FLOAT)
    parameters = declarations(work.details["source"])[work.name]
    names = (parameter.name for parameter in parameters)
    arguments = dict(zip(names, work.details["arguments"], strict=True))
    moved += reread(work.name, arguments)
    flops = OPERATIONS[work.name](arguments) if work.name in OPERATIONS else moved / FLOAT
    return Launch(work.kind, work.name, moved, flops)


# ---- the passes -------------------------------------------------------------------------------


def ideal_bytes(model: Any, batch: int, training: bool) -> int:
    """What the fused ideal moves; see the head of this module."""
    size = model.settings.image_size
    filters = model.settings.filters_s + model.settings.filters_x
    pixels = size * size * 3
    pooled = sum(side * side for side in model.streams.sizes) * filters
    parameters = sum(p.size for p in model.parameters()) * FLOAT
    forward = batch * (pixels + 2 * pooled * FLOAT) + parameters
    if not training:
        return forward
    # The gradients; and the optimiser reads four numbers a parameter and writes three.
    backward = batch * (pixels + 2 * pooled * FLOAT) + 2 * parameters
    return forward + backward + 2 * batch * pooled + 7 * parameters


def record_passes(batch: int) -> tuple[Pass, Pass]:
    """A training step and an inference pass of the default network, on the emulated device."""
    from tests import cuda_emulator

    cuda_emulator.install()
    import cupy  # the stand-in

    from minissr.autograd.function import no_grad
    from minissr.kernels.backend import use_backend
    from minissr.models.ssrnet import SSRNet
    from minissr.training.optim import Adam

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 64, 64, 3)).astype(np.uint8)
    ages = rng.uniform(0, 100, batch).astype(np.float32)
    with use_backend("cupy"):
        model = SSRNet()
        model.to("cupy")
        optimizer = Adam(model.parameters())

        def step() -> None:
            model.zero_grad()
            loss, predicted = model.loss(images, ages, rng=rng)
            loss.backward()
            optimizer.step()
            predicted.numpy()

        def answer() -> None:
            model.eval()
            with no_grad():
                model(images).numpy()

        passes = []
        for name, run in (("training step", step), ("inference pass", answer)):
            run()  # what is done once: tables, counters
            model.train()
            with cupy.record() as log:
                run()
            ideal = ideal_bytes(model, batch, run is step)
            passes.append(Pass(name, batch, tuple(map(as_launch, log)), ideal))
    return passes[0], passes[1]


# ---- showing it -------------------------------------------------------------------------------


def bytes_of(launches: Sequence[Launch]) -> int:
    """Moved by all of them."""
    return sum(launch.bytes for launch in launches)


def table(done: Pass) -> str:
    """A pass as text: its launches by name, its sums, its bounds."""
    groups: dict[tuple[str, str], list[Launch]] = defaultdict(list)
    for launch in done.launches:
        groups[launch.kind, launch.name].append(launch)
    lines = [f"{done.name}, batch {done.batch}: {len(done.launches)} launches and copies", ""]
    lines.append(f"  {'':>4} {'what':<32} {'MB':>9} {'MFLOP':>9}")
    for (kind, name), some in sorted(
        groups.items(), key=lambda item: -sum(x.bytes for x in item[1])
    ):
        moved, flops = bytes_of(some) / 1e6, sum(x.flops for x in some) / 1e6
        what = name if kind == "kernel" else f"{name} ({kind})"
        lines.append(f"  {len(some):>3}x {what:<32} {moved:>9.2f} {flops:>9.1f}")
    lines.append(
        f"\n  {done.bytes / 1e6:.1f} MB in the device's memory, {done.excess:.2f} times the fused "
        f"ideal of {done.ideal / 1e6:.1f} MB; {done.flops / 1e9:.2f} GFLOP\n"
    )
    lines.append("  lower bounds, computed from data sheets; nothing was measured on a GPU")
    for card in CARDS:
        as_launched, ideal = done.bound(card), done.ideal_bound(card)
        lines.append(
            f"  {card.name:<12} as launched {as_launched * 1e3:7.3f} ms, at most "
            f"{done.batch / as_launched:>9,.0f} images/s; fused ideal {ideal * 1e3:7.3f} ms"
        )
    return "\n".join(lines)


def to_json(done: Pass) -> dict[str, Any]:
    """A pass as plain values."""
    return {
        "name": done.name,
        "batch": done.batch,
        "launches": len(done.launches),
        "bytes": done.bytes,
        "ideal_bytes": done.ideal,
        "flops": done.flops,
        "bounds": [
            {**asdict(card), "as_launched_s": done.bound(card), "ideal_s": done.ideal_bound(card)}
            for card in CARDS
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both passes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=50, help="images in a batch (50)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    given = parser.parse_args(arguments)
    if given.batch < 2:
        parser.error(f"--batch {given.batch}; batch norm trains on 2 or more")
    from tests.cuda_emulator.build import why_not

    if reason := why_not():
        print(f"gpu_model: {reason}", file=sys.stderr)
        return 5
    passes = record_passes(given.batch)
    print("\n\n".join(map(table, passes)))
    if given.json:
        given.json.write_text(json.dumps([to_json(done) for done in passes], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
