"""What the pictures of a run show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minissr.data.images import decode
from minissr.training import figures, metrics

RNG = np.random.default_rng(0)
AGES = np.repeat(np.float32([3, 25, 40, 71]), 12)
PREDICTED = (AGES + RNG.normal(0, 4, len(AGES))).astype(np.float32)


def stage(own_std: float | None) -> dict[str, Any]:
    """A stage's health as a line of metrics has it."""
    return {"own_std": own_std, "mean_width": 10.0, "p_std": 0.1, "eta_std": 0.2, "delta_std": 0.3}


HISTORY = [
    {"epoch": e, "train_mae": 20.0 / e, "val_mae": 22.0 / e, "stage_health": [stage(2.0 * e)]}
    for e in (1, 2, 3)
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """drawn(function, *arguments) -> the Figure it made."""
    made: list[Any] = []

    def keep(figure: Any) -> bytes:
        made.append(figure)
        return b""

    monkeypatch.setattr(figures, "png", keep)

    def draw(function: Callable[..., bytes], *arguments: Any) -> Any:
        function(*arguments)
        return made[-1]

    return draw


def test_curves_show_both_errors_and_what_they_lie_between(drawn: Callable[..., Any]) -> None:
    (axes,) = drawn(figures.curves, HISTORY, {"constant": 14.9, "best": 2.5, "none": None}).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines == {
        "training (augmented)": [record["train_mae"] for record in HISTORY],
        "validation": [record["val_mae"] for record in HISTORY],
        "constant": [14.9, 14.9],
        "best": [2.5, 2.5],
    }


def test_health_is_in_bin_widths_and_has_gaps(drawn: Callable[..., Any]) -> None:
    history = [*HISTORY, {**HISTORY[0], "epoch": 4, "stage_health": [stage(None)]}]
    axes = drawn(figures.health, history).axes[0]
    own, threshold = (line.get_ydata() for line in axes.lines)
    np.testing.assert_allclose(own, [0.2, 0.4, 0.6, np.nan])
    assert list(threshold) == [figures.OWN_SHARE] * 2


def test_every_face_is_a_point_and_every_decade_a_median(drawn: Callable[..., Any]) -> None:
    (axes,) = drawn(figures.predicted_against_true, PREDICTED, AGES).axes
    _, faces, medians = axes.lines
    np.testing.assert_array_equal(faces.get_ydata(), PREDICTED)
    assert np.abs(faces.get_xdata() - AGES).max() <= 0.4
    assert list(medians.get_xdata()) == [3, 25, 40, 71]
    assert list(medians.get_ydata()) == np.median(PREDICTED.reshape(4, 12), axis=1).tolist()


def test_bars_are_the_decades_errors(drawn: Callable[..., Any]) -> None:
    (axes,) = drawn(figures.error_by_age, PREDICTED, AGES).axes
    heights = [bar.get_height() for bar in axes.patches]
    decades = metrics.by_decade(PREDICTED, AGES)
    assert heights == [d["mae"] for d in decades] + [d["bias"] for d in decades]
    assert axes.get_xticklabels()[0].get_text() == "0-9\n(12)"


def test_faces_are_the_best_of_each_age_and_the_worst_of_all(drawn: Callable[..., Any]) -> None:
    images = np.full((4, 4, 3, len(AGES)), np.arange(len(AGES)), np.uint8).transpose(3, 0, 1, 2)
    panels = drawn(figures.best_and_worst, images, PREDICTED, AGES, 4).axes
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in panels]
    size = np.abs(PREDICTED - AGES)
    assert shown[:4] == (size.reshape(4, 12).argmin(axis=1) + np.arange(0, 48, 12)).tolist()
    assert shown[4:] == np.argsort(-size)[:4].tolist()
    assert panels[4].get_title() == f"{AGES[shown[4]]:.0f} → {PREDICTED[shown[4]]:.1f}"


def test_figures_are_pictures() -> None:
    image = decode(figures.error_by_age(PREDICTED, AGES))
    assert image.shape[1] > image.shape[0] > 300
    assert image.std() > 10
