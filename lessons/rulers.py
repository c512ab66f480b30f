"""The picture of lessons 11, 12 and 17: each stage's bins as a ruler on the axis of ages.

Sliders are shown where ipywidgets is installed; otherwise, and in the built notebooks, a figure.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lessons import style

STEP = 0.1  # arrows show what this much more of an input does


def rulers(
    ax: Any,
    p: np.ndarray,
    eta: np.ndarray,
    delta: np.ndarray,
    *,
    stages: Sequence[int],
    V: float,
    title: str = "",
) -> float:
    """Draw one face's bins, a row a stage, coarsest on top; returns the age in years.

    Parameters
    ----------
    ax : matplotlib Axes
    p, eta : ndarray (s_1 + ... + s_K,)
        The darker a bin, the larger its p; eta shifts it, in bins.
    delta : ndarray (K,)
        Stretches the number of bins of a stage.
    stages : sequence of int
    V : float
        Years.
    """
    width, start, first, rows = V, 0.0, 0, len(stages)
    for k, s in enumerate(stages):
        width = width / (s * (1 + delta[k]))
        index = np.arange(s) + eta[first : first + s]
        for i in range(s):
            # A little lower from bin to bin, so that one sees where shifted bins overlap.
            ax.barh(
                rows - k - 0.13 * i,
                width,
                0.3,
                left=start + index[i] * width,
                color=style.CYCLE[k],
                alpha=0.1 + 0.85 * min(1, max(0, p[first + i])),
                edgecolor="black",
                linewidth=0.6,
            )
        end = start + float(p[first : first + s] @ index) * width
        ax.plot([end, end], [rows - k - 0.6, rows - k + 0.3], color="black", linestyle=":")
        ax.annotate(
            "",
            (end, rows - k - 0.55),
            (start, rows - k - 0.55),
            arrowprops={"arrowstyle": "->", "color": style.CYCLE[k]},
        )
        start, first = end, first + s
    ax.axvline(start, color="black", linewidth=1)
    style.label(ax, "age [years]", "stage", title or f"{start:.1f} years")
    ax.set(yticks=range(1, rows + 1), yticklabels=range(rows, 0, -1), xlim=(-5, V + 5))
    ax.set_ylim(0.2, rows + 0.6)
    return start


def explore(draw: Callable[..., None], **ranges: tuple[float, float, float]) -> None:
    """Call `draw(**values)` with a slider for each value; without sliders, once.

    Parameters
    ----------
    draw : callable
        Draws a figure and shows it.
    **ranges : (lowest, highest, first value)
    """
    if os.environ.get("MINISSR_LESSONS_STATIC") or not importlib.util.find_spec("ipywidgets"):
        draw(**{name: first for name, (_, _, first) in ranges.items()})
        return
    import ipywidgets
    from IPython.display import display

    sliders = {
        name: ipywidgets.FloatSlider(
            first, min=low, max=high, step=0.05, description=name, continuous_update=False
        )
        for name, (low, high, first) in ranges.items()
    }
    shown = ipywidgets.interactive_output(draw, sliders)
    display(ipywidgets.HBox([ipywidgets.VBox(list(sliders.values())), shown]))
