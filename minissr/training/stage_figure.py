"""The picture that `inspect` draws: a row of panels a stage, and the ages below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minissr.training.figures import BLUE, GREEN, GREY, VERMILLION, new_figure, png
from minissr.training.inspection import Inspection, Stage
from minissr.training.results import cause_of_death

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stage_figure(seen: Inspection, title: str, allowed: tuple[float, float]) -> bytes:
    """PNG bytes: p and eta of each bin, delta, each stage's own years; the ages of the faces.

    Parameters
    ----------
    seen : Inspection
    title : str
    allowed : (float, float)
        The ages the network was made for, in years.
    """
    count = len(seen.stages)
    figure = new_figure(11.0, 2.3 * count + 3.2)
    rows = figure.add_gridspec(count + 1, 4, height_ratios=[1.0] * count + [1.1])
    for k, stage in enumerate(seen.stages):
        panels: list[Axes] = [figure.add_subplot(rows[k, column]) for column in range(4)]
        draw_stage(panels, stage)
    draw_ages(figure.add_subplot(rows[count, :]), seen, allowed)
    figure.suptitle(title, fontsize=11)
    return png(figure)


def draw_stage(panels: list[Axes], stage: Stage) -> None:
    """One row: p, eta, delta, own contribution."""
    health = stage.health
    for axes, name in zip(panels, ("p", "eta"), strict=False):
        draw_bins(axes, stage.parts[name], name in stage.constant)
        axes.set_ylabel(name)
    panels[1].set_ylim(-1.08, 1.08)
    delta = stage.parts["delta"][:, 0]
    draw_spread(panels[2], delta, "delta" in stage.constant, (-1.0, 1.0))
    panels[2].set_xlabel("delta")
    draw_spread(panels[3], stage.own, {"p", "eta"} <= set(stage.constant), None)
    panels[3].set_xlabel("own part (years)")
    verdict = "alive" if health.alive else f"DEAD: {cause_of_death(health.to_json())}"
    panels[0].set_title(" ", fontsize=10)  # room for the heading, which may be as wide as the row
    heading = panels[0].annotate(
        f"stage {health.stage}: {verdict}",
        (0, 1.03),
        xycoords="axes fraction",
        fontsize=10,
        fontweight="bold",
        color=GREEN if health.alive else VERMILLION,
    )
    heading.set_in_layout(False)


def draw_bins(axes: Axes, values: np.ndarray, constant: bool) -> None:
    """Values (N, S): a box for each bin, whiskers to the extremes; a constant is a red bar."""
    bins = np.arange(values.shape[1])
    if constant:
        axes.hlines(values[0], bins - 0.3, bins + 0.3, color=VERMILLION, linewidth=3)
        flag(axes)
    else:
        lines: dict[str, Any] = {
            f"{part}props": {"color": BLUE} for part in ("box", "whisker", "cap", "median")
        }
        axes.boxplot(values, positions=bins, widths=0.6, whis=(0, 100), **lines)
    axes.set_xlim(-0.6, len(bins) - 0.4)
    axes.set_xticks(bins, [str(i) for i in bins])
    axes.set_xlabel("bin")
    axes.margins(y=0.3)


def draw_spread(
    axes: Axes, values: np.ndarray, constant: bool, limits: tuple[float, float] | None
) -> None:
    """A histogram of values (N,); a constant is a red line."""
    if constant:
        middle = float(values[0])
        axes.axvline(middle, color=VERMILLION, linewidth=3)
        axes.set_xlim(middle - 1, middle + 1)
        flag(axes)
    else:
        axes.hist(values, bins=40, color=BLUE)
    if limits:
        axes.set_xlim(limits[0] * 1.08, limits[1] * 1.08)
    axes.set_ylabel("faces")
    axes.set_yticks([])


def flag(axes: Axes) -> None:
    """Say that nothing here depends on the face."""
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(0.5, 0.95, "the same for every face", transform=axes.transAxes, color=VERMILLION,
              ha="center", va="top", fontsize=9, bbox=behind)  # fmt: skip


def draw_ages(axes: Axes, seen: Inspection, allowed: tuple[float, float]) -> None:
    """Ages of the faces, and which can't be reached."""
    axes.hist(seen.ages, bins=60, color=BLUE, label="ages of these faces")
    left = min(allowed[0], float(seen.ages.min())) - 2
    right = max(allowed[1], float(seen.ages.max())) + 2
    if seen.reachable:
        beyond: dict[str, Any] = {"color": GREY, "alpha": 0.25, "hatch": "//", "linewidth": 0}
        low, high = seen.reachable
        if low > left:
            axes.axvspan(left, low, label=f"out of reach: below {low:.2f}", **beyond)
        if high < right:
            axes.axvspan(high, right, label=f"out of reach: above {high:.2f}", **beyond)
    axes.set_xlim(left, right)
    axes.set_xlabel("predicted age (years)")
    axes.set_ylabel("faces")
    axes.legend(frameon=False, fontsize=9)
