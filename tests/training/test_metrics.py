"""The figures against their formulas, written out by hand for a few faces."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minissr.training import metrics

TRUE = np.array([5, 9, 10, 40, 41], np.float32)
PREDICTED = np.array([8, 4, 10, 30, 44.5], np.float32)
ERRORS = [3, -5, 0, -10, 3.5]


def test_the_summary_is_what_its_words_say() -> None:
    assert metrics.summary(PREDICTED, TRUE) == pytest.approx(
        {
            "n": 5,
            "mae": (3 + 5 + 0 + 10 + 3.5) / 5,
            "median_ae": 3.5,
            "bias": (3 - 5 + 0 - 10 + 3.5) / 5,
            "ca3": 2 / 5,
            "ca5": 4 / 5,
            "rmse": math.sqrt((9 + 25 + 0 + 100 + 12.25) / 5),
        }
    )


def test_an_error_of_exactly_n_counts_in_ca() -> None:
    assert metrics.cumulative_accuracy(np.array([3.0]), np.array([0.0]), 3) == 1
    assert metrics.cumulative_accuracy(np.array([3.001]), np.array([0.0]), 3) == 0


def test_decades() -> None:
    young, teens, old = metrics.by_decade(PREDICTED, TRUE)
    assert young == {"from": 0, "to": 9, "n": 2, "mae": 4.0, "bias": -1.0}
    assert teens == {"from": 10, "to": 19, "n": 1, "mae": 0.0, "bias": 0.0}
    assert old == {"from": 40, "to": 49, "n": 2, "mae": 6.75, "bias": -3.25}


def test_groups_leave_out_what_says_nothing() -> None:
    labels = {
        "gender": np.array(["f", "m", "f", "", "m"]),
        "file": np.array([f"{i}.jpg" for i in range(5)]),
        "source": np.array(["x"] * 5),
    }
    groups = metrics.by_group(PREDICTED, TRUE, labels | {"file": np.arange(5)})
    assert groups["gender"] == [
        {"value": "f", "n": 2, "mae": 1.5, "bias": 1.5},
        {"value": "m", "n": 2, "mae": 4.25, "bias": -0.75},
    ]
    assert "source" not in groups
    many = {"file": np.array([f"{i}.jpg" for i in range(100)])}
    ages = np.zeros(100)
    assert metrics.by_group(ages, ages, many) == {}


@pytest.mark.parametrize("shape", [(5, 1), (4,), ()])
def test_shapes_that_would_broadcast_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        metrics.summary(PREDICTED, np.zeros(shape))


def test_no_faces_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no faces"):
        metrics.summary(np.zeros(0), np.zeros(0))
