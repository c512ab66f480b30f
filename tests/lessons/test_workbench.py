"""The sliders of lessons 11 and 12 without a browser, and their figure without sliders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lessons import rulers, style, workbench
from minissr import Tensor, ops

P = [0.1, 0.7, 0.2, 0.2, 0.3, 0.5]


def age_of(inputs: tuple[np.ndarray, ...], stages: tuple[int, ...]) -> float:
    tensors = [Tensor(array[None]) for array in inputs]
    return ops.soft_stagewise_regression(*tensors, stages=stages, max_age=90).item()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of the figures that are shown."""
    words: list[str] = []

    def show(fig: Any, alt: str) -> None:
        style.plt.close(fig)
        words.append(alt)

    monkeypatch.setattr(style, "show", show)
    return words


@pytest.fixture
def sliders(said: list[str]) -> Any:
    pytest.importorskip("ipywidgets", reason="sliders need pip install '.[lessons]'")
    return workbench.Sliders(P, (3, 3), 90.0, 60.0)


def test_every_slider_moves_the_age(sliders: Any) -> None:
    assert np.isclose(sliders.age, 46)
    first, second = sliders.stages
    every = [first["delta"], second["delta"], *first["p"][1:], *first["eta"], *second["p"][1:],
             *second["eta"]]  # fmt: skip
    for slider in every:
        before = sliders.age
        slider.value = slider.value + 0.15
        assert sliders.age != before
        assert np.isclose(sliders.age, age_of(sliders.inputs(), (3, 3)))


def test_another_number_of_bins(sliders: Any) -> None:
    sliders.stages[1]["count"].value = 5
    assert [len(array) for array in sliders.inputs()] == [8, 8, 2]
    assert np.isclose(sliders.age, age_of(sliders.inputs(), (3, 5)))
    sliders.stages[1]["eta"][4].value = 0.5  # the new sliders are heard, too
    assert np.isclose(sliders.age, age_of(sliders.inputs(), (3, 5)))


def test_another_true_age_is_drawn(sliders: Any, said: list[str]) -> None:
    sliders.target.value = 30.0
    assert "true age of 30" in said[-1]


def test_without_widgets_there_is_a_figure(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbench.importlib.util, "find_spec", lambda name: None)
    workbench.workbench(P, stages=(3, 3), V=90.0, target=60.0)
    assert len(said) == 1
    assert "46.0 years" in said[0]


@pytest.mark.parametrize("target", [20.0, 80.0])
def test_arrows_point_downhill(target: float) -> None:
    rng = np.random.default_rng(0)
    inputs = np.float64(P), rng.uniform(-0.5, 0.5, 6), rng.uniform(-0.3, 0.3, 2)
    before = abs(age_of(inputs, (3, 3)) - target)
    found = rulers.directions(*inputs, (3, 3), 90.0, target)
    for which, direction in enumerate(found):
        for place in range(len(direction)):
            moved = [array.copy() for array in inputs]
            moved[which][place] += 1e-3 * np.sign(direction[place])
            assert abs(age_of(tuple(moved), (3, 3)) - target) < before
