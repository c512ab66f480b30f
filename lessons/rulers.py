"""The picture of lessons 11, 12 and 17: each stage's bins as a ruler on the axis of ages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lessons import style
from minissr import Tensor, ops

STEP = 0.13  # a bin is drawn a little lower than the one before: so one sees where they overlap


def rulers(
    ax: Any,
    p: np.ndarray,
    eta: np.ndarray,
    delta: np.ndarray,
    *,
    stages: Sequence[int],
    V: float,
    target: float | None = None,
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
    target : float, optional
        The true age in years. With it, arrows show which way every input makes |age - target|
        smaller: across in a bin for its eta, up or down at its left edge for its p, and above a
        ruler for its delta (to the right is larger). Longer is steeper, up to a limit.
    """
    width, start, first, rows = V, 0.0, 0, len(stages)
    downhill = None if target is None else directions(p, eta, delta, stages, V, target)
    for k, s in enumerate(stages):
        width = width / (s * (1 + delta[k]))
        index = np.arange(s) + eta[first : first + s]
        for i in range(s):
            ax.barh(
                rows - k - STEP * i,
                width,
                0.3,
                left=start + index[i] * width,
                color=style.CYCLE[k],
                alpha=0.1 + 0.85 * min(1, max(0, p[first + i])),
                edgecolor="black",
                linewidth=0.6,
            )
            if downhill:
                at = start + index[i] * width, rows - k - STEP * i
                arrow(ax, (at[0] + width / 2, at[1]), V / 9 * downhill[1][first + i], 0, "black")
                arrow(ax, (at[0] + V / 90, at[1]), 0, 0.3 * downhill[0][first + i], "black")
        if downhill:
            arrow(ax, (V / 18, rows - k + 0.3), V / 9 * downhill[2][k], 0, style.CYCLE[k])
        end = start + float(p[first : first + s] @ index) * width
        ax.plot([end, end], [rows - k - 0.6, rows - k + 0.2], color="black", linestyle=":")
        arrow(ax, (start, rows - k - 0.55), end - start, 0, style.CYCLE[k])
        start, first = end, first + s
    ax.axvline(start, color="black", linewidth=1)
    if target is not None:
        ax.axvline(target, color=style.RED, linestyle="--", linewidth=1)
    style.label(ax, "age [years]", "stage", title or f"{start:.1f} years")
    ax.set(yticks=range(1, rows + 1), yticklabels=range(rows, 0, -1), xlim=(-5, V + 5))
    ax.set_ylim(0.2, rows + 0.6)
    return start


def directions(
    p: np.ndarray,
    eta: np.ndarray,
    delta: np.ndarray,
    stages: Sequence[int],
    V: float,
    target: float,
) -> tuple[np.ndarray, ...]:
    """Which way p, eta and delta make |age - target| smaller, and how steeply, from -1 to 1."""
    inputs = [Tensor(np.float64([array]), requires_grad=True) for array in (p, eta, delta)]
    age = ops.soft_stagewise_regression(*inputs, stages=tuple(stages), max_age=V)
    age.backward(np.ones(1))
    towards = np.sign(target - age.item())
    return tuple(np.tanh(towards * tensor.grad[0] / 25) for tensor in inputs)


def arrow(ax: Any, start: tuple[float, float], dx: float, dy: float, colour: str) -> None:
    """An arrow in the axes' own units; none if it would be too short to see."""
    if abs(dx) > 0.5 or abs(dy) > 0.02:
        end = start[0] + dx, start[1] + dy
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour})
