"""SSR-Net beside its compact rivals: the paper's Figure 2 and Table 2, on any faces."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minissr.errors import DataError
from minissr.reproduction.cases import METHODS
from minissr.reproduction.rows import Row, of
from minissr.training.figures import (
    BLUE,
    GREY,
    STAGE_STYLES,
    VERMILLION,
    new_figure,
    png,
    whole_numbers,
)
from minissr.training.files import write_atomically, write_text

# What the authors call the methods in the names of their histories, PREFIX__NAME.csv.
AUTHORS = {
    "minissr": "ssrnet_3_3_3_64_1.0_1.0",
    "mobilenet": "mobilenet_reg_0.25_64",
    "densenet": "densenet_reg_19_64",
}
PANELS = ("mobilenet", "densenet", "minissr")  # in the paper's order
# CA(3) and CA(5) on MegaAge-Asian (Yang et al. 2018, Table 2); other faces, another protocol.
PUBLISHED = {"minissr": (0.549, 0.741), "mobilenet": (0.440, 0.606), "densenet": (0.517, 0.694)}

Curve = list[tuple[int, float, float]]  # epoch, training MAE, validation MAE


def authors_curves(prefix: str | None) -> dict[str, Curve]:
    """The authors' own histories, method by method, as far as they are there.

    Parameters
    ----------
    prefix : str or None
        FOLDER/SET, meaning the files FOLDER/SET__METHOD.csv, with the columns `epoch`,
        `mean_absolute_error` and `val_mean_absolute_error` of Keras.

    Raises
    ------
    DataError
        If there is none of them, or one that isn't such a file.
    """
    if prefix is None:
        return {}
    paths = {name: Path(f"{prefix}__{theirs}.csv") for name, theirs in AUTHORS.items()}
    found = {name: read_curve(path) for name, path in paths.items() if path.exists()}
    if not found:
        raise DataError(f"--curves {prefix}: there is no {paths['minissr']}; name FOLDER/SET")
    return found


def read_curve(path: Path) -> Curve:
    """One history. Raises DataError naming the file."""
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        train, val = "mean_absolute_error", "val_mean_absolute_error"
        return [(int(line["epoch"]), float(line[train]), float(line[val])) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no history of a training with epoch, mean_absolute_error and "
            f"val_mean_absolute_error ({error!r})"
        ) from error


def own_curves(rows: Sequence[Row]) -> dict[str, Curve]:
    """Those of the rows, first seed of each method."""
    curves = {}
    for case in METHODS:
        mine = of(rows, case.name)
        if mine:
            pairs = zip(mine[0]["train_mae_by_epoch"], mine[0]["val_mae_by_epoch"], strict=True)
            curves[case.name] = [(n, train, val) for n, (train, val) in enumerate(pairs, 1)]
    return curves


def title(name: str, rows: Sequence[Row]) -> str:
    """A method and how long it was trained."""
    (about,) = (case.about for case in METHODS if case.name == name)
    mine = of(rows, name)
    return f"{about}, {mine[0]['epochs']} epochs" if mine else f"{about}: not run yet"


def figure2(folder: Path, rows: Sequence[Row], prefix: str | None = None) -> Path:
    """Write `figure2.png` and `figure2.csv`; returns the picture's path."""
    ours, theirs = own_curves(rows), authors_curves(prefix)
    path = folder / "figure2.png"
    write_atomically(path, draw_figure2(rows, ours, theirs, Path(prefix or "").name))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "by", "epoch", "train_mae", "val_mae"])
    for by, curves in (("here", ours), ("authors", theirs)):
        for name, curve in curves.items():
            writer.writerows([name, by, *point] for point in curve)
    write_text(folder / "figure2.csv", text.getvalue())
    return path


def draw_figure2(
    rows: Sequence[Row], ours: dict[str, Curve], theirs: dict[str, Curve], where: str
) -> bytes:
    """Training and validation error of each method, and the validation errors together."""
    figure = new_figure(13.0, 3.9)
    axes = figure.subplots(1, len(PANELS) + 1, sharey=True)
    for place, name in zip(axes, PANELS, strict=False):
        if name in theirs:
            draw(place, theirs[name], f"the authors', {where}", (GREY, GREY), thin=True)
        if name in ours:
            draw(place, ours[name], "here", (BLUE, VERMILLION))
        place.set_title(title(name, rows), fontsize=9)
        place.set_xlabel("epoch")
    last = axes[-1]
    for case, (colour, marker) in zip(METHODS, STAGE_STYLES, strict=False):
        if case.name in theirs:
            epochs, _, val = zip(*theirs[case.name], strict=True)
            last.plot(epochs, val, color=colour, linewidth=1, linestyle=":", alpha=0.7)
        if case.name in ours:
            epochs, _, val = zip(*ours[case.name], strict=True)
            last.plot(epochs, val, color=colour, marker=marker, markersize=3, label=case.about)
    if theirs:
        last.plot([], [], color=GREY, linestyle=":", label=f"the authors', {where}")
    last.set_title("validation", fontsize=9)
    last.set_xlabel("epoch")
    axes[0].set_ylabel("mean absolute error (years)")
    axes[0].set_ylim(bottom=0)
    for place in axes:
        whole_numbers(place)
        if place.get_legend_handles_labels()[1]:
            place.legend(frameon=False, fontsize=7)
    return png(figure)


def draw(
    axes: Any, curve: Curve, whose: str, colours: tuple[str, str], *, thin: bool = False
) -> None:
    """A training and a validation curve."""
    epochs, train, val = zip(*curve, strict=True)
    width, size = (1.0, 0) if thin else (1.5, 3)
    axes.plot(epochs, train, color=colours[0], marker="o", markersize=size, linewidth=width,
              linestyle=":" if thin else "-", label=f"training, {whose}")  # fmt: skip
    axes.plot(epochs, val, color=colours[1], marker="s", markersize=size, linewidth=width,
              label=f"validation, {whose}")  # fmt: skip


def table2(folder: Path, rows: Sequence[Row]) -> Path:
    """Write `table2.csv` and `table2.png`; returns the picture's path."""
    header = ["method", "faces", "epochs", "seeds", "parameters", "MAE", "CA(3)", "CA(5)", *PAPER]
    lines = [line_of(case.about, of(rows, case.name), PUBLISHED.get(case.name))
             for case in METHODS if of(rows, case.name)]  # fmt: skip
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    write_text(folder / "table2.csv", text.getvalue())
    path = folder / "table2.png"
    write_atomically(path, draw_table(header, lines))
    return path


PAPER = ("CA(3), paper", "CA(5), paper")


def line_of(about: str, rows: Sequence[Row], published: tuple[float, float] | None) -> list[str]:
    """A method's figures: of the test faces where there are some, else of the validation faces.

    `rows` are its seeds; the figures are their means.
    """
    first, seeds = rows[0], len(rows)
    split = "test" if "test_mae" in first else "val"
    figures = [f"{statistics.fmean(row[f'{split}_{key}'] for row in rows):.{digits}f}"
               for key, digits in (("mae", 2), ("ca3", 3), ("ca5", 3))]  # fmt: skip
    theirs = [f"{value:.3f}" for value in published] if published else ["", ""]
    counts = [str(first["epochs"]), str(seeds), f"{first['parameters']:,}"]
    return [about, split, *counts, *figures, *theirs]


def draw_table(header: list[str], lines: list[list[str]]) -> bytes:
    """A table as a picture."""
    figure = new_figure(10.0, 1.1 + 0.3 * len(lines))
    axes = figure.add_subplot()
    axes.axis("off")
    table = axes.table(lines, colLabels=header, loc="center", cellLoc="right", colLoc="right",
                       colWidths=[0.2, *[0.1] * (len(header) - 1)])  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.4)
    for (row, column), cell in table.get_celld().items():
        cell.visible_edges = "B" if row == 0 else ""
        if column == 0:
            cell.set_text_props(ha="left")
    figure.suptitle("last epoch, mean of the seeds; the paper's columns are of MegaAge-Asian "
                    "and not comparable", fontsize=8)  # fmt: skip
    return png(figure)
