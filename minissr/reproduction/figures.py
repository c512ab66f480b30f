"""The pictures of an ablation, as PNG bytes; colours and style as those of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minissr.reproduction.cases import Case
from minissr.reproduction.rows import Row, mean_mae, of
from minissr.training.figures import (
    BLUE,
    GREY,
    STAGE_STYLES,
    VERMILLION,
    new_figure,
    own_share,
    png,
    whole_numbers,
)
from minissr.training.health import OWN_SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 1.25  # times the smallest error: what is above is drawn apart
CURVES = ("minissr", "base", "rigid", "dex", "released", "released-slip")


def errors(cases: Sequence[Case], rows: Sequence[Row]) -> bytes:
    """Validation MAE of every run, one line of dots a case, the case's mean as a bar.

    The few that are far off have a panel of their own: else nobody could tell the others apart.
    """
    figure = new_figure(9.0, 0.9 + 0.25 * len(cases))
    every = [row["val_mae"] for row in rows]
    near, margin = FAR * min(every), 0.02 * min(every)
    apart = max(every) > near
    widths = (4, 1) if apart else (1,)
    shares = ((0.0, near), (near, math.inf))
    panels = figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False)[0]
    if apart:
        panels[1].set_xlim(near - 2 * margin, max(every) + 3 * margin)
        panels[1].tick_params(axis="y", left=False)
    panels[0].set_xlim(min(every) - margin, min(near, max(every) + margin))
    for axes, share in zip(panels, shares, strict=False):
        draw_errors(axes, cases, rows, share)
    panels[0].set_yticks(range(len(cases)), [f"{c.name}: {c.about}" for c in cases], fontsize=8)
    panels[0].set_ylim(len(cases) - 0.4, -0.6)
    panels[0].set_xlabel("mean absolute error on the validation faces, last epoch (years)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, frameon=False, fontsize=8, loc="outside upper center", ncols=len(handles)
    )
    return png(figure)


def draw_errors(
    axes: Axes, cases: Sequence[Case], rows: Sequence[Row], share: tuple[float, float]
) -> None:
    """The dots and bars of all cases that are the panel's share, and where the base's mean is."""
    lowest, highest = share
    for at, case in enumerate(cases):
        mine = of(rows, case.name)
        colour, marker = (BLUE, "o") if all_alive(mine) else (VERMILLION, "s")
        values = [row["val_mae"] for row in mine if lowest < row["val_mae"] <= highest]
        axes.plot(values, [at] * len(values), marker, color=colour, markersize=5)
        if lowest < (mean := mean_mae(mine)) <= highest:
            axes.plot([mean] * 2, [at - 0.35, at + 0.35], color=colour, linewidth=1.5)
    axes.plot([], [], "o", color=BLUE, label="all stages alive in every run")
    axes.plot([], [], "s", color=VERMILLION, label="a stage is dead in some run")
    if base := of(rows, "base"):  # in both panels: the legend is that of the first
        axes.axvline(mean_mae(base), color=GREY, linestyle="--", linewidth=1, label="base, mean")
    axes.grid(axis="x", color="#DDDDDD")


def all_alive(rows: Sequence[Row]) -> bool:
    """Whether no run of a case lost a stage."""
    return all(row["live_stages"] == row["stages"] for row in rows)


def stages(cases: Sequence[Case], rows: Sequence[Row]) -> bytes:
    """What each stage contributes of its own, in bins; logarithmic, as the dead are near 0."""
    from matplotlib.ticker import NullFormatter

    figure = new_figure(8.0, 1.2 + 0.27 * len(cases))
    axes = figure.add_subplot()
    seen = 0
    for at, case in enumerate(cases):
        for row in of(rows, case.name):
            for k, stage in enumerate(row["stage_health"]):
                colour, marker = STAGE_STYLES[k]
                share = max(own_share(stage), 1e-4)
                axes.plot(share, at, marker, color=colour, markersize=5, alpha=0.8,
                          label=f"stage {k + 1}" if k == seen else None)  # fmt: skip
                seen = max(seen, k + 1)
    axes.axvline(OWN_SHARE, color=GREY, linestyle="--", linewidth=1, label="alive above this")
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(cases)), [c.name for c in cases], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("standard deviation of a stage's contribution / width of its bins")
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=5)
    return png(figure)


def curves(cases: Sequence[Case], rows: Sequence[Row]) -> bytes:
    """Validation MAE by epoch, mean over seeds, of the cases that the paper is about.

    Logarithmic: the first epochs are far above, the last ones close together.
    """
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    figure = new_figure(6.8, 4.8)
    axes = figure.add_subplot()
    chosen = [case for case in cases if case.name in CURVES]
    styles = dict(zip(CURVES, STAGE_STYLES, strict=True))  # the same whichever have run
    for case in chosen:
        colour, marker = styles[case.name]
        by_epoch = np.mean([row["val_mae_by_epoch"] for row in of(rows, case.name)], axis=0)
        axes.plot(np.arange(1, len(by_epoch) + 1), by_epoch, color=colour, marker=marker,
                  markersize=4, label=f"{case.name}: {case.about}")  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean absolute error, validation (years)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(10))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#DDDDDD")
    whole_numbers(axes)
    if chosen:
        axes.legend(frameon=False, fontsize=8)
    return png(figure)
