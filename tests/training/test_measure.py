"""Ages of many faces: by the inference engine where it can, and the same by the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minissr.data.preprocessing import Preprocessing
from minissr.kernels.backend import numba_installed, use_backend
from minissr.models.inference import InferenceEngine
from minissr.models.registry import build
from minissr.models.ssrnet import SSRNet
from minissr.nn.module import Module
from minissr.training import measure
from minissr.training.measure import BATCH, predict_ages

BGR = Preprocessing(color="bgr", scale=1 / 127.5, offset=-1.0)


def faces(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every engine that `predict_ages` builds."""
    built: list[Any] = []

    class Counted(InferenceEngine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            built.append(self)

    monkeypatch.setattr(measure, "InferenceEngine", Counted)
    return built


@pytest.mark.skipif(not numba_installed(), reason="needs Numba")
@pytest.mark.parametrize("preprocessing", [Preprocessing(), BGR])
def test_the_engine_says_what_the_layers_say(
    preprocessing: Preprocessing, engines: list[Any]
) -> None:
    model, images, calls = SSRNet(), faces(BATCH + 3), []
    ages = predict_ages(model, images, preprocessing, lambda: calls.append(1))
    assert [engine.fused for engine in engines] == [True]
    assert model.training
    assert len(calls) == 2  # before each batch
    with use_backend("numpy"):
        expected = predict_ages(model, images[:9], preprocessing)
    assert len(engines) == 1  # what was asked for is what computes
    assert ages.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(ages[:9], expected, atol=1e-3)  # years
    assert np.ptp(ages) > 1e-3  # or nothing was compared


@pytest.mark.parametrize(
    "model",
    [
        SSRNet(filters_s=4, filters_x=6, image_size=40),
        SSRNet(streams="one", image_size=40),
        SSRNet(image_size=40).astype(np.float64),
    ],
    ids=["narrow", "one stream", "float64"],
)
def test_other_networks_use_their_layers(model: Module, engines: list[Any]) -> None:
    preprocessing = Preprocessing(size=40)
    ages = predict_ages(model, faces(3, 40), preprocessing)
    assert not engines
    assert ages.shape == (3,)
    assert ages.dtype == np.float32


def test_no_faces_no_ages() -> None:
    assert predict_ages(build("ssrnet"), faces(0), Preprocessing()).shape == (0,)


def test_a_stop_leaves_the_mode_as_it_was() -> None:
    model = SSRNet()

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_ages(model, faces(2), Preprocessing(), stop)
    assert model.training
