"""What was wanted, and whether a results file shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import BY_NAME
from benchmarks.statistics import ratios, spread

Part = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One number beside the one that was wanted.

    Attributes
    ----------
    what : str
    seen, wanted : str
        For people.
    reached : bool
    """

    what: str
    seen: str
    wanted: str
    reached: bool


def ours(part: Part) -> Part | None:
    """minissr's row of a part, if it was measured."""
    return next((r for r in part["rows"] if r["peer"] == "minissr" and r["status"] == "ok"), None)


def others(part: Part) -> list[Part]:
    """The rows of the frameworks that were measured, the fastest first."""
    apart = ("minissr", "numpy")
    rows = [r for r in part["rows"] if r["status"] == "ok" and r["peer"] not in apart]
    return sorted(rows, key=lambda row: spread(row["seconds"]).median)


def share_of_peak(part: Part, row: Part) -> float:
    """Which part of the peak measured in the same rounds a peer reaches, 0 to 1."""
    work = part["flops_per_image"]["whole" if row["peer"] != "minissr" else "needed"]
    rounds = zip(row["seconds"], part["peak_gflops"], strict=True)
    return spread([work * part["batch"] / seconds / 1e9 / peak for seconds, peak in rounds]).median


def goals(parts: dict[str, Part]) -> Iterator[Goal]:
    """Every goal of which something was measured."""
    for batch in (50, 128):
        if part := parts.get(f"training/{batch}"):
            yield from faster(part, f"training step, batch {batch}", 3.0, 0.4)
    if part := parts.get("inference/64"):
        yield from faster(part, "inference, batch 64", 1.8, 0.6)
    if part := parts.get("inference/1"):
        yield from faster(part, "inference, batch 1", 1.5, None)
    if part := parts.get("command"):
        share = command_share(part)
        yield goal("whole `train` command beside the bare step", share, 0.85, percent)
    if part := parts.get("memory/128"):
        yield from lighter(part)
    if part := parts.get("startup"):
        yield from quick(part)


def faster(part: Part, what: str, times: float, share: float | None) -> Iterator[Goal]:
    """How many times as fast as the fastest peer, and how near to the machine's limit."""
    mine, rivals = ours(part), others(part)
    installed = [row for row in rivals if not BY_NAME[row["peer"]].keeps]
    # As everybody has it; and beside who was tuned, where that is faster still.
    for rival in dict.fromkeys(row["peer"] for row in (*installed[:1], *rivals[:1])):
        row = next(row for row in rivals if row["peer"] == rival)
        if mine:
            ratio = spread(ratios(row["seconds"], mine["seconds"])).median
            yield goal(f"{what}, beside {row['label']}", ratio, times, fold)
    if mine and share is not None:
        yield goal(f"{what}, of the measured fp32 peak", share_of_peak(part, mine), share, percent)


def lighter(part: Part) -> Iterator[Goal]:
    """Memory beside the leanest PyTorch."""
    mine = ours(part)
    torch = [r["peak"] for r in others_by_memory(part) if r["peer"].startswith("torch")]
    if mine and torch:
        seen = mebibytes(mine["peak"])
        yield Goal(
            f"peak memory of training, batch {part['batch']}",
            seen,
            f"below PyTorch's {mebibytes(min(torch))}",
            mine["peak"] < min(torch),
        )


def others_by_memory(part: Part) -> list[Part]:
    return [r for r in part["rows"] if r["status"] == "ok" and r["peer"] != "minissr"]


def quick(part: Part) -> Iterator[Goal]:
    """Start-up, seconds."""
    limits = (("predict", "whole", 30.0, 1.5), ("train", "first_step", 90.0, 3.0))
    for what, until, first, later in limits:
        name = f"`{what}`, to its {'end' if until == 'whole' else 'first step done'}"
        for when, seen, limit in (
            ("the first run ever", part["first"][what][until], first),
            ("a later run", spread([run[until] for run in part["cached"][what]]).median, later),
        ):
            yield Goal(f"{name}, {when}", f"{seen:.2f} s", f"under {limit:g} s", seen < limit)


def command_share(part: Part) -> float:
    """images/s of the command's epochs over those of the bare step beside them."""
    shares = []
    for before, after, run in zip(
        part["step_seconds"], part["step_seconds"][1:], part["runs"], strict=False
    ):
        step = part["batch"] / ((before + after) / 2)
        shares.append(spread(run["images_per_s"]).median / step)
    return spread(shares).median


def goal(what: str, seen: float, wanted: float, words: Any) -> Goal:
    return Goal(what, words(seen), f"at least {words(wanted)}", seen >= wanted)


def fold(value: float) -> str:
    return f"{value:.2f} times"


def percent(value: float) -> str:
    return f"{value:.0%}"


def mebibytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"
