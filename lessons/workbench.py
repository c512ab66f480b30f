"""Equation 7 with a slider for everything in it (lessons 11 and 12).

Where ipywidgets is installed, sliders; otherwise, and in the built notebooks, a figure.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lessons import style
from lessons.rulers import rulers

MOST_BINS = 5  # of a stage
MOST = 0.95  # of eta and delta; the pole at delta = -1 is lesson 12's


def workbench(p: Sequence[float], *, stages: Sequence[int], V: float, target: float) -> None:
    """Show the bins of one face, with sliders for s_k, p, eta, delta and the true age.

    Parameters
    ----------
    p : sequence of float, s_1 + ... + s_K of them
        What the sliders of p begin with; those of eta and delta begin at 0.
    stages : sequence of int
        What those of s_k begin with.
    V, target : float
        The highest age and the true age, in years.
    """
    if os.environ.get("MINISSR_LESSONS_STATIC") or not importlib.util.find_spec("ipywidgets"):
        bins, zeros = np.float64(p), np.zeros(len(p))
        draw(bins, zeros, np.zeros(len(stages)), stages, V, target)
        return
    from IPython.display import display

    display(Sliders(p, stages, V, target).panel)


def draw(
    p: np.ndarray,
    eta: np.ndarray,
    delta: np.ndarray,
    stages: Sequence[int],
    V: float,
    target: float,
) -> float:
    """The figure for these inputs; returns the age in years."""
    fig, ax = style.figure(height=0.6 + 1.3 * len(stages))
    age = rulers(ax, p, eta, delta, stages=stages, V=V, target=target)
    ax.set_title(f"{age:.1f} years, {abs(age - target):.1f} from the true {target:g}")
    style.show(
        fig,
        f"Rulers of {len(stages)} stages that end at {age:.1f} years, a dashed line at the true "
        f"age of {target:g}, and arrows in and above the bins: how each input comes nearer to it.",
    )
    return age


class Sliders:
    """`panel` is what to display; `age` is what was drawn last, in years."""

    def __init__(self, p: Sequence[float], stages: Sequence[int], V: float, target: float) -> None:
        import ipywidgets

        self.widgets, self.V = ipywidgets, V
        self.picture = ipywidgets.Output()
        self.target = self.slider("true age", target, 0.0, V, step=1.0)
        ends = np.cumsum(stages)
        self.stages = [
            self.stage(k, p[end - s : end])
            for k, (s, end) in enumerate(zip(stages, ends, strict=True))
        ]
        columns = ipywidgets.HBox([stage["column"] for stage in self.stages])
        self.panel = ipywidgets.VBox([self.target, self.picture, columns])
        self.redraw()

    def slider(self, name: str, first: float, low: float, high: float, step: float = 0.05) -> Any:
        made = self.widgets.FloatSlider(
            first, min=low, max=high, step=step, description=name, continuous_update=False
        )
        made.observe(self.redraw, "value")
        return made

    def stage(self, k: int, p: Sequence[float]) -> dict[str, Any]:
        """One stage's column of sliders."""
        count = self.widgets.IntSlider(
            len(p), min=1, max=MOST_BINS, description=f"s_{k + 1}", continuous_update=False
        )
        made = {
            "count": count,
            "delta": self.slider(f"delta_{k + 1}", 0.0, -MOST, MOST),
            "column": self.widgets.VBox(),
        }
        self.fill(made, p)
        count.observe(lambda change: self.recount(made), "value")
        return made

    def fill(self, stage: dict[str, Any], p: Sequence[float]) -> None:
        """New sliders for the bins of a stage."""
        stage["p"] = [self.slider(f"p_{i}", float(value), 0.0, 1.0) for i, value in enumerate(p)]
        stage["eta"] = [self.slider(f"eta_{i}", 0.0, -MOST, MOST) for i in range(len(p))]
        stage["column"].children = [stage["count"], stage["delta"], *stage["p"], *stage["eta"]]

    def recount(self, stage: dict[str, Any]) -> None:
        """Another number of bins: all equally probable at first."""
        count = stage["count"].value
        self.fill(stage, [1 / count] * count)
        self.redraw()

    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """p, eta and delta as they are set, the bins of all stages in one row."""
        p, eta = (
            np.float64([slider.value for stage in self.stages for slider in stage[name]])
            for name in ("p", "eta")
        )
        return p, eta, np.float64([stage["delta"].value for stage in self.stages])

    def redraw(self, change: Any = None) -> None:
        if not hasattr(self, "panel"):
            return  # still being built
        counts = [stage["count"].value for stage in self.stages]
        with self.picture:
            self.picture.clear_output(wait=True)
            self.age = draw(*self.inputs(), counts, self.V, self.target.value)
