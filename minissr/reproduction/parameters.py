"""How many numbers a network needs: stages against one stage of as many classes (Figure 3)."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from minissr.models.registry import build
from minissr.training.figures import BLUE, GREY, VERMILLION, new_figure, png
from minissr.training.files import write_atomically, write_text

CONFIGURATIONS = ((2, 2, 2), (3, 3, 3), (4, 4, 4), (5, 5, 5), (6, 6, 6), (8, 8, 8), (10, 10, 10))
ORCNN = 428_040  # weights; Niu et al. 2016, counted from their layers
VARIANT = "released"  # the network that the paper counts


def counts() -> list[tuple[str, int, int, int]]:
    """Configuration, number of classes, parameters in stages, and in one stage of as many."""
    lines = []
    for stages in CONFIGURATIONS:
        classes = math.prod(stages)
        staged, single = (
            build("ssrnet", variant=VARIANT, stages=s).parameter_count()
            for s in (stages, (classes,))
        )
        lines.append((",".join(map(str, stages)), classes, staged, single))
    return lines


def figure3(folder: Path) -> Path:
    """Write `figure3.png` and `figure3.csv`; returns the picture's path."""
    lines = counts()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stages", "classes", "parameters", "parameters_of_one_stage"])
    writer.writerows(lines)
    writer.writerow(["ORCNN", "", ORCNN, ""])
    write_text(folder / "figure3.csv", text.getvalue())
    path = folder / "figure3.png"
    write_atomically(path, draw(lines))
    return path


def draw(lines: list[tuple[str, int, int, int]]) -> bytes:
    """Two lines and ORCNN's level, logarithmic."""
    figure = new_figure(6.8, 4.2)
    axes = figure.add_subplot()
    at = range(len(lines))
    axes.plot(at, [line[3] for line in lines], color=VERMILLION, marker="s", label="one stage")
    axes.plot(at, [line[2] for line in lines], color=BLUE, marker="o", label="three stages")
    axes.axhline(ORCNN, color=GREY, linestyle="--", linewidth=1, label=f"ORCNN: {ORCNN:,}")
    axes.set_yscale("log")
    axes.set_xticks(at, [f"({name})\n{classes:,}" for name, classes, _, _ in lines], fontsize=8)
    axes.set_xlabel("bins of the stages, and classes in all")
    axes.set_ylabel("parameters")
    axes.legend(frameon=False, fontsize=9)
    return png(figure)
