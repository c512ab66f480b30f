"""How the lessons look: colours everybody can tell apart, labelled axes, figures with words."""

from __future__ import annotations

import io
import sys
from typing import Any

import matplotlib

if "matplotlib.pyplot" not in sys.modules:
    matplotlib.use("Agg")  # figures are shown by `show`, the same in every front end

import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's palette: distinct for every common kind of colour vision, and in print.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#666666"
CYCLE = [BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY]

# Numbers from small to large; and from negative through nothing (white) to positive.
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"

DOTS_PER_INCH = 80

LOOK = {
    "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same letters everywhere
    "font.size": 10,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "lines.linewidth": 2,
}

# What the NumPy lessons do without. Hidden, so that they show it: minissr then chooses `numpy`.
BEYOND_NUMPY = ("numba", "cv2", "cupy", "safetensors", "tqdm", "torch")


def begin(*, numpy_alone: bool = False) -> None:
    """Set the look and the way arrays are printed; `numpy_alone` hides every other package."""
    plt.rcParams.update(LOOK)
    np.set_printoptions(precision=4, suppress=True, linewidth=100, threshold=100)
    if numpy_alone:
        for name in BEYOND_NUMPY:
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def figure(rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 3.0) -> Any:
    """A figure of `width` by `height` inches and its axes, as plt.subplots returns them."""
    return plt.subplots(rows, columns, figsize=(width, height))


def label(ax: Any, x: str, y: str, title: str = "") -> None:
    """Name both axes, units in brackets: "time [ms]"."""
    ax.set(xlabel=x, ylabel=y, title=title)


def picture(ax: Any, image: np.ndarray, title: str = "", **settings: Any) -> Any:
    """Draw an image or a small matrix without axes; what imshow returns."""
    ax.set_axis_off()
    ax.set_title(title)
    return ax.imshow(image, **settings)


def numbers(ax: Any, matrix: np.ndarray, fmt: str = "{:g}", colour: str = "black") -> None:
    """Write every number of a matrix into its square."""
    for (row, column), value in np.ndenumerate(matrix):
        ax.text(column, row, fmt.format(value), ha="center", va="center", color=colour)


def show(fig: Any, alt: str) -> None:
    """Put the figure into the notebook, with `alt`: what somebody who can't see it should know.

    Raises
    ------
    ValueError
        If an axis has no label, or the words say next to nothing.
    """
    for ax in fig.axes:
        if ax.axison and not (ax.get_xlabel() and ax.get_ylabel()) and not is_colorbar(ax):
            raise ValueError("a figure has an axis without a label; use style.label(ax, x, y)")
    if len(alt.split()) < 6:
        raise ValueError(f"alt text {alt!r} says too little; describe what the figure shows")
    buffer = io.BytesIO()
    # No Software entry: it holds Matplotlib's version, and the bytes would change with it.
    fig.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(fig)
    if "IPython" in sys.modules:
        from IPython.display import display

        bundle = {"image/png": buffer.getvalue(), "text/plain": f"Figure: {alt}"}
        display(bundle, raw=True, metadata={"image/png": {"alt": alt}})


def is_colorbar(ax: Any) -> bool:
    return ax.get_label() == "<colorbar>" and bool(ax.get_ylabel() or ax.get_xlabel())
