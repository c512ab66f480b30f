"""A results file as pictures (SVG); colours of Okabe and Ito, which colour-blind people tell apart.

minissr is also the darkest bar and the first one, so that no colour is needed to find it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from benchmarks.goals import Part, others, ours
from benchmarks.statistics import spread

BLUE, ORANGE, GREY, BLACK = "#0072B2", "#E69F00", "#BBBBBB", "#222222"


def draw(parts: dict[str, Part], folder: Path) -> list[str]:
    """Write every picture there is something for; their file names."""
    # The same numbers give the same bytes.
    mpl.rcParams.update({"svg.hashsalt": "minissr", "font.size": 9, "svg.fonttype": "none"})
    pictures: dict[str, Callable[[dict[str, Part]], Any]] = {
        "speed.svg": speed,
        "kernels.svg": kernels,
        "images.svg": images,
    }
    written = []
    for name, picture in pictures.items():
        figure = picture(parts)
        if figure is None:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / name, metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
        written.append(name)
    return written


def speed(parts: dict[str, Part]) -> Any:
    """Images/s of everybody, a panel for each task and batch size."""
    names = [n for n in parts if n.startswith(("training/", "inference/")) and others(parts[n])]
    names.sort(key=lambda n: (n.startswith("inference"), int(n.rpartition("/")[2])))
    if not names:
        return None
    rows_of = {
        name: [row for row in (ours(parts[name]), *others(parts[name])) if row] for name in names
    }
    heights = [0.19 * len(rows) + 0.75 for rows in rows_of.values()]  # inches: bars and axis
    figure, axes = plt.subplots(
        len(names),
        1,
        figsize=(7, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (name, rows) in zip(axes[:, 0], rows_of.items(), strict=True):
        part = parts[name]
        for place, row in enumerate(rows):
            rates = [part["batch"] / seconds for seconds in row["seconds"]]
            rate = spread(rates)
            axis.barh(
                -place,
                rate.median,
                color=BLUE if row is ours(part) else GREY,
                xerr=[[rate.median - rate.low], [rate.high - rate.median]],
                ecolor=BLACK,
                capsize=2,
            )
            axis.annotate(f"  {rate.median:,.0f}", (rate.high, -place), va="center")
        axis.set_yticks([-place for place in range(len(rows))], [row["label"] for row in rows])
        axis.set_title(f"{part['task']}, batch {part['batch']}", loc="left")
        axis.set_xlabel("images/s (median and quartiles of rounds)")
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def kernels(parts: dict[str, Part]) -> Any:
    """The share of the peak of every kernel that mostly multiplies."""
    part = parts.get("kernels/50")
    if part is None:
        return None
    top = spread(part["peak_gflops"]).median
    rows = [r for r in part["rows"] if r["status"] == "ok" and r["flops"] > 1e7]
    shares = [r["flops"] / spread(r["seconds"]).median / 1e9 / top for r in rows]
    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.2 * len(rows)), layout="constrained")
    colours = [ORANGE if "backward" in r["kernel"] or "grad" in r["kernel"] else BLUE for r in rows]
    hatches = ["//" if colour == ORANGE else "" for colour in colours]
    places = [-place for place in range(len(rows))]
    axis.barh(places, [100 * share for share in shares], color=colours, hatch=hatches)
    axis.set_yticks(places, [f"{r['kernel']}  {r['shape']}" for r in rows], fontsize=7)
    axis.set_xlim(0, 100)
    axis.set_xlabel("% of the measured fp32 peak (hatched: gradients)")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def images(parts: dict[str, Part]) -> Any:
    """What an image costs in epochs of different length."""
    part = parts.get("images")
    if part is None:
        return None
    counts = [row["images"] for row in part["rows"]]
    costs = [spread(row["seconds_per_image"]) for row in part["rows"]]
    figure, axis = plt.subplots(figsize=(5, 2.6), layout="constrained")
    middle = [1e6 * cost.median for cost in costs]
    errors = [
        [1e6 * (cost.median - cost.low) for cost in costs],
        [1e6 * (cost.high - cost.median) for cost in costs],
    ]
    axis.errorbar(counts, middle, yerr=errors, marker="o", color=BLUE, capsize=2)
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.minorticks_off()
    axis.set_ylim(0, 1.25 * max(middle))
    axis.set_xlabel("images in an epoch")
    axis.set_ylabel("µs an image")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
