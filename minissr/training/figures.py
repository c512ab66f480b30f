"""The pictures of a run. Each function draws one and returns it as PNG bytes.

Colours are those of Okabe and Ito, told apart by readers of every colour vision; lines also differ
in their markers. Figures are made without pyplot, so nothing global changes and no window opens.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minissr.training import metrics
from minissr.training.health import OWN_SHARE, SPREAD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
STAGE_STYLES = (
    *((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), ("#CC79A7", "D"), ("#E69F00", "v")),
    ("#56B4E9", "P"),
)  # of lines that have to be told apart
ENOUGH = 10  # faces that a median means something of

Record = Mapping[str, Any]  # a line of metrics.jsonl


def curves(history: Sequence[Record], lines: Mapping[str, float | None]) -> bytes:
    """Train and validation MAE against the epoch (Yang et al. 2018, Figure 2).

    Parameters
    ----------
    history : lines of metrics.jsonl.
    lines : label -> MAE in years, drawn as horizontal references; None is left out.
    """
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    epochs = [record["epoch"] for record in history]
    for key, label, colour, marker in (
        ("train_mae", "training (augmented)", BLUE, "o"),
        ("val_mae", "validation", VERMILLION, "s"),
    ):
        values = [record[key] for record in history]
        axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=label)
    for (label, value), dashes in zip(lines.items(), ("--", ":"), strict=False):
        if value is not None:
            axes.axhline(value, color=GREY, linestyle=dashes, linewidth=1, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean absolute error (years)")
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    axes.legend(frameon=False, fontsize=9)
    return png(figure)


def health(history: Sequence[Record]) -> bytes:
    """What each stage contributes, epoch by epoch: how a stage's death looks, if one died."""
    figure = new_figure(9.0, 6.0)
    panels = (
        ("std of contribution / bin width", own_share, OWN_SHARE),
        ("std of p (RMS over bins)", lambda s: s["p_std"], SPREAD),
        ("std of eta (RMS over bins)", lambda s: s["eta_std"], SPREAD),
        ("std of delta", lambda s: s["delta_std"], SPREAD),
    )
    epochs = [record["epoch"] for record in history]
    stages = len(history[0]["stage_health"]) if history else 0
    for place, (label, value, threshold) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, place)
        for k in range(stages):
            colour, marker = STAGE_STYLES[k % len(STAGE_STYLES)]
            # None, a number that wasn't finite, becomes a gap in the line.
            values = np.array([value(r["stage_health"][k]) for r in history], dtype=float)
            axes.plot(epochs, values, color=colour, marker=marker, markersize=4,
                      label=f"stage {k + 1}")  # fmt: skip
        axes.axhline(threshold, color=GREY, linestyle="--", linewidth=1, label="alive above this")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label, fontsize=9)
        axes.set_ylim(bottom=0)
        whole_numbers(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=9, ncols=len(labels),
                  loc="outside upper center", title="over the validation faces")  # fmt: skip
    return png(figure)


def own_share(stage: Record) -> float:
    """own_std in units of the stage's mean width; not a number where one of them isn't."""
    own, width = stage["own_std"], stage["mean_width"]
    return own / width if own is not None and width else float("nan")


def predicted_against_true(predicted: np.ndarray, true: np.ndarray) -> bytes:
    """Each face as a point: true age across, predicted age up, both in years."""
    figure = new_figure(5.6, 5.2)
    axes = figure.add_subplot()
    top = float(max(true.max(), predicted.max(), 1)) * 1.05
    low = float(min(0, predicted.min()))
    # Ages are whole numbers; without a little noise a thousand faces hide behind fifty points.
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, len(true))
    axes.plot([low, top], [low, top], color=GREY, linewidth=1, linestyle="--", label="no error")
    axes.plot(true + jitter, predicted, ".", color=BLUE, markersize=3, alpha=0.35, rasterized=True)
    decades = np.floor(true / 10)
    many = [decades == d for d in np.unique(decades) if (decades == d).sum() >= ENOUGH]
    axes.plot([np.median(true[d]) for d in many], [np.median(predicted[d]) for d in many],
              color=VERMILLION, marker="s", markersize=4,
              label=f"medians of decades with {ENOUGH} faces or more")  # fmt: skip
    axes.set_xlabel("true age (years)")
    axes.set_ylabel("predicted age (years)")
    axes.set_xlim(low, top)
    axes.set_ylim(low, top)
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=9)
    return png(figure)


def error_by_age(predicted: np.ndarray, true: np.ndarray) -> bytes:
    """MAE and bias of each decade of age, with how many faces each has."""
    figure = new_figure(7.6, 4.2)
    axes = figure.add_subplot()
    decades = metrics.by_decade(predicted, true)
    at = np.arange(len(decades))
    axes.bar(at - 0.2, [d["mae"] for d in decades], 0.4, color=BLUE, label="mean absolute error")
    axes.bar(at + 0.2, [d["bias"] for d in decades], 0.4, color=VERMILLION, hatch="//",
             edgecolor="white", label="bias (predicted - true)")  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(at, [f"{d['from']}-{d['to']}\n({d['n']:,})" for d in decades], fontsize=8)
    axes.set_xlabel("true age (years), and how many faces")
    axes.set_ylabel("error (years)")
    axes.legend(frameon=False, fontsize=9)
    return png(figure)


def best_and_worst(
    images: np.ndarray, predicted: np.ndarray, true: np.ndarray, columns: int = 8
) -> bytes:
    """Two rows of faces: those predicted best, from all ages, and those predicted worst.

    Parameters
    ----------
    images : ndarray (N, H, W, 3), uint8, RGB.
    predicted, true : ndarray (N,), in years.
    """
    size = np.abs(predicted - true)
    columns = min(columns, len(true))
    # The best of each slice of ages: the plain best would all be of the commonest age.
    slices = np.array_split(np.argsort(true, kind="stable"), columns)
    best = [part[np.argmin(size[part])] for part in slices]
    worst = np.argsort(-size, kind="stable")[:columns]
    figure = new_figure(1.25 * columns + 0.5, 3.8)
    rows = {"best of its age": [int(i) for i in best], "worst": [int(i) for i in worst]}
    for row, (title, chosen) in enumerate(rows.items()):
        for column, index in enumerate(chosen):
            axes = figure.add_subplot(2, columns, row * columns + column + 1)
            axes.imshow(images[index])
            axes.set_title(f"{true[index]:.0f} → {predicted[index]:.1f}", fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(title, fontsize=9)
    figure.suptitle("true age → predicted age (years)", fontsize=10)
    return png(figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def whole_numbers(axes: Axes) -> None:
    """Epochs are whole: no tick at 2.5."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
