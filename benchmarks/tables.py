"""A results file as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from benchmarks.goals import Part, command_share, goals, mebibytes, others, ours, share_of_peak
from benchmarks.results import FEWEST_ROUNDS
from benchmarks.statistics import Spread, ratios, spread

WINOGRAD = 0.75  # share of the network's products: with fewer, its formula was used


def tables(parts: dict[str, Part]) -> str:
    """Everything that was measured, section by section."""
    sections: list[tuple[str, Callable[[dict[str, Part]], Iterator[str]]]] = [
        ("Goals", goals_section),
        ("Training step", lambda p: speed_section(p, "training")),
        ("Inference", lambda p: speed_section(p, "inference")),
        ("Kernels", kernels_section),
        ("Memory of training", memory_section),
        ("Threads", threads_section),
        ("Images of an epoch", images_section),
        ("The whole `train` command", command_section),
        ("Start-up", startup_section),
        ("How it was measured", circumstances_section),
    ]
    written = []
    for title, section in sections:
        lines = list(section(parts))
        if lines:
            written.append("\n".join([f"## {title}", "", *lines]))
    return "\n\n".join(written) + "\n"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table; every column but the first is set right."""
    heads = list(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "|---|" + "---:|" * (len(heads) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def goals_section(parts: dict[str, Part]) -> Iterator[str]:
    found = list(goals(parts))
    if found:
        rows = ([g.what, g.seen, g.wanted, "yes" if g.reached else "**no**"] for g in found)
        yield from table(["what", "seen", "wanted", "reached"], rows)


def speed_section(parts: dict[str, Part], task: str) -> Iterator[str]:
    found = sorted(
        (p for name, p in parts.items() if name.startswith(f"{task}/")), key=lambda p: p["batch"]
    )
    for i, part in enumerate(found):
        if i:
            yield ""
        yield f"Batch {part['batch']}; the machine's fp32 peak in these rounds: {peak(part)}."
        yield ""
        yield from table(
            ["", "ms (quartiles)", "images/s", "of the peak", "minissr is", "off by"],
            speed_rows(part),
        )
    if task == "inference":
        told: dict[str, list[str]] = {}  # parts may be of two revisions
        for part in found:
            told.setdefault(how_inferred(part), []).append(str(part["batch"]))
        for words, batches in told.items():
            yield ""
            yield words if len(told) == 1 else f"Batch {', '.join(batches)}: {words}"


def how_inferred(part: Part) -> str:
    """What minissr computed in a part of inference, and what its share of the peak counts."""
    flops = part["flops_per_image"]
    # What no later layer reads is 7 % of the whole; Winograd's formula saves 35 % more.
    if flops["needed"] > WINOGRAD * flops["whole"]:
        return (
            "minissr leaves out rows and columns that no later layer reads; its share of the peak "
            "counts only what it computes. Its input is uint8, the others are given float32 "
            "pixels in the layout they like best."
        )
    return (
        "minissr leaves out rows and columns that no later layer reads, and multiplies 16 "
        "times where most of its convolutions have 36 products to add up (Winograd's formula); "
        "its share of the peak counts only what it multiplies. The others' counts the whole "
        "network. minissr's input is uint8, the others are given float32 pixels in the layout "
        "they like best."
    )


def peak(part: Part) -> str:
    return f"{spread(part['peak_gflops']).median:.0f} GFLOP/s"


def speed_rows(part: Part) -> Iterator[list[str]]:
    mine = ours(part)
    able = ([mine] if mine else []) + others(part)
    able += [r for r in part["rows"] if r["status"] == "ok" and r["peer"] == "numpy"]
    for row in able:
        taken = spread(row["seconds"])
        times = ""
        if mine and row is not mine:
            ratio = spread(ratios(row["seconds"], mine["seconds"])).median
            times = f"{ratio:.2f} times as fast"
        yield [
            f"**{row['label']}**" if row is mine else row["label"],
            quartiles(taken),
            f"{part['batch'] / taken.median:,.0f}",
            f"{share_of_peak(part, row):.0%}",
            times,
            off_by(row),
        ]
    for row in part["rows"]:
        if row["status"] != "ok":
            yield [row["label"], absent(row), "", "", "", ""]


def absent(row: Part) -> str:
    """Why there is no number."""
    if row["status"] == "missing":
        return f"not installed: `{row['install']}`"
    if row["status"] == "wrong":
        return f"computes something else: {row['check']}"
    return f"failed: {row.get('why', 'no reason given')}".replace("|", "/")


def off_by(row: Part) -> str:
    """How far its answers were from the right ones."""
    check = row["check"]
    if "gradient" in check:
        return f"{check['gradient']:.0e} of a layer's gradients"
    return f"{check['ages']:.0e} years"


def quartiles(taken: Spread) -> str:
    """Median and quartiles in milliseconds."""
    low, high = milliseconds(taken.low), milliseconds(taken.high)
    return f"{milliseconds(taken.median)} ({low} to {high})"


def milliseconds(seconds: float) -> str:
    digits = 3 if seconds < 0.01 else 1
    return f"{seconds * 1e3:.{digits}f}"


def kernels_section(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("kernels/50")
    if not part:
        return
    triad = spread(part["triad_gbps"]).median
    yield (
        f"Batch {part['batch']}. Peak in these rounds: {peak(part)}, and {triad:.0f} GB/s to and "
        "from memory (a triad). Operations and bytes are those a kernel can't avoid; what it "
        "computes twice counts once."
    )
    yield ""
    yield from table(
        ["kernel", "shape", "ms", "GFLOP/s", "of the peak", "GB/s"],
        map(kernel_row(part), part["rows"]),
    )


def kernel_row(part: Part) -> Callable[[Part], list[str]]:
    def row_of(row: Part) -> list[str]:
        if row["status"] != "ok":
            return [f"`{row['kernel']}`", row["shape"], absent(row), "", "", ""]
        seconds = spread(row["seconds"]).median
        rounds = zip(row["seconds"], part["peak_gflops"], strict=True)
        share = spread([row["flops"] / s / 1e9 / p for s, p in rounds]).median
        return [
            f"`{row['kernel']}`",
            row["shape"],
            f"{seconds * 1e3:.3f}",
            f"{row['flops'] / seconds / 1e9:.0f}",
            f"{share:.0%}",
            f"{row['bytes'] / seconds / 1e9:.1f}",
        ]

    return row_of


def memory_section(parts: dict[str, Part]) -> Iterator[str]:
    first = True
    for part in (p for name, p in sorted(parts.items()) if name.startswith("memory/")):
        if not first:
            yield ""
        first = False
        yield (
            f"Batch {part['batch']}, {part['steps']} steps, each in a process that did nothing "
            "before."
        )
        yield ""
        rows = []
        for row in part["rows"]:
            if row["status"] != "ok":
                rows.append([row["label"], absent(row), "", ""])
                continue
            stored = mebibytes(row["stored"]) if row["stored"] else "not told"
            rows.append([row["label"], mebibytes(row["peak"]), mebibytes(row["imported"]), stored])
        yield from table(
            ["", "resident at most", "after importing", "stored by a step for its backward"], rows
        )


def threads_section(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("threads")
    if not part:
        return
    found: dict[tuple[str, str, int], dict[int, float]] = {}
    for row in part["rows"]:
        if row["status"] == "ok":
            key = row["label"], row["task"], row["batch"]
            found.setdefault(key, {})[row["threads"]] = spread(row["seconds"]).median
    counts = sorted({threads for by in found.values() for threads in by})
    yield from table(
        ["", "task", *(f"ms, {n} thread{'s' if n > 1 else ''}" for n in counts), "gain"],
        (
            [
                label,
                f"{task} {batch}",
                *(milliseconds(by[n]) if n in by else "" for n in counts),
                f"{by[counts[0]] / by[counts[-1]]:.2f}" if len(by) == len(counts) else "",
            ]
            for (label, task, batch), by in sorted(found.items(), key=lambda item: item[0][1:])
        ),
    )


def images_section(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("images")
    if not part:
        return
    yield "An epoch of the training loop, batches of 50: loading, augmentation, steps."
    yield ""
    yield from table(
        ["images", "µs an image", "images/s", "resident at most"],
        (
            [
                f"{row['images']:,}",
                f"{spread(row['seconds_per_image']).median * 1e6:.0f}",
                f"{1 / spread(row['seconds_per_image']).median:,.0f}",
                mebibytes(row["resident"]),
            ]
            for row in part["rows"]
        ),
    )


def command_section(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("command")
    if not part:
        return
    step = part["batch"] / spread(part["step_seconds"]).median
    epochs = spread([rate for run in part["runs"] for rate in run["images_per_s"]])
    yield from table(
        [f"{part['images']:,} images, batches of {part['batch']}", "images/s"],
        [
            ["the bare step", f"{step:,.0f}"],
            [
                "an epoch of `python -m minissr.train` (quartiles)",
                f"{epochs.median:,.0f} ({epochs.low:,.0f} to {epochs.high:,.0f})",
            ],
            ["the command's share of the bare step's rate", f"{command_share(part):.0%}"],
        ],
    )


def startup_section(parts: dict[str, Part]) -> Iterator[str]:
    part = parts.get("startup")
    if not part:
        return

    def seconds(runs: list[dict[str, float]], until: str) -> str:
        return f"{spread([run[until] for run in runs]).median:.2f} s"

    rows = []
    for what, until, told in (
        ("predict", "whole", "one face"),
        ("train", "first_step", "to its first step done"),
        ("train", "whole", "an epoch of 100 faces, with its report"),
    ):
        first, later = part["first"][what], part["cached"][what]
        rows.append([f"`{what}`, {told}", seconds([first], until), seconds(later, until)])
    rows.append(["`import minissr`", "", seconds(part["imports"], "whole")])
    yield from table(["", "first run ever (compiles)", "later"], rows)


def circumstances_section(parts: dict[str, Part]) -> Iterator[str]:
    rows = []
    for name, part in parts.items():
        rounds = f"{part['rounds']}{' (quick)' if part['quick'] else ''}"
        few = " (too few to quote)" if part["rounds"] < FEWEST_ROUNDS else ""
        if part.get("repeated"):
            few += f", {part['repeated']} repeated"
        rows.append(
            [
                name,
                part["date"],
                part["commit"],
                rounds + few,
                str(part["load"]),
                f"`{part['command']}`",
            ]
        )
    heads = ["part", "when", "revision", "rounds", "load", "command"]
    yield from table(heads, rows)
    for machine in sorted({describe_machine(part) for part in parts.values()}):
        yield ""
        yield machine


def describe_machine(part: Part) -> str:
    """Processor and versions in a sentence."""
    m = part["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}, "
        f"Python {m['python']}; {part['threads']} threads; {versions}."
    )
