"""A part of the network that somebody replaced, or set otherwise, computes as it says, whatever
shortcut there is for the parts it stands among: in training, in evaluation and in the inference
engine.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minissr import no_grad
from minissr.data.preprocessing import Preprocessing
from minissr.models.ssrnet import SSRNet
from minissr.nn.layers import Conv2d, Dense
from minissr.nn.module import Module, composed
from minissr.training.measure import predict_ages

FACES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
AGES = np.float32([8, 30, 71])

# One of each class: all parts of the network are of these.
PARTS = ["", "streams", "streams.s.2", "streams.x.0.conv", "streams.s.0.norm", "stages.1"] + [
    f"stages.0.{part}" for part in ("conv_x", "delta", "dropout", "prediction", "prediction.mix")
]


def by_subclass(part: Module, forward: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    part.__class__ = type("Mine", (type(part),), {"forward": forward})


def by_attribute(
    part: Module, forward: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    part.forward = forward.__get__(part)


def by_class(part: Module, forward: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(part), "forward", forward)


def evaluate(model: SSRNet) -> None:
    predict_ages(model, FACES, Preprocessing())


def answer(model: SSRNet) -> None:
    with no_grad():
        model.eval()(FACES)


def learn(model: SSRNet) -> None:
    model.train().loss(FACES, AGES)[0].backward()


@pytest.mark.parametrize("use", [evaluate, answer, learn])
@pytest.mark.parametrize("replace", [by_subclass, by_attribute, by_class])
@pytest.mark.parametrize("name", PARTS)
def test_it_is_called(name: str, replace: Any, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SSRNet()
    part = dict(model.named_modules())[name]
    original, calls = type(part).forward, []

    def forward(self: Any, *inputs: Any, **settings: Any) -> Any:
        calls.append(name)
        return original(self, *inputs, **settings)

    replace(part, forward, monkeypatch)
    use(model)
    assert calls


def test_there_is_one_of_each_class() -> None:
    parts = dict(SSRNet().named_modules())
    assert {type(parts[name]) for name in PARTS} == set(map(type, parts.values()))


def changed(**settings: Any) -> Callable[[Module], None]:
    return lambda part: vars(part).update(settings)


def without_bias(kind: Any, *sizes: int) -> Module:
    return kind(*sizes, rng=np.random.default_rng(1), bias=False)


SETTINGS: dict[str, tuple[str, Callable[[Module], None]]] = {
    "pool of x": ("streams.x.0", changed(pool="max")),
    "pool of s": ("streams.s.1", changed(pool="avg")),
    "activation of the first block": ("streams.s.0", changed(activation="relu")),
    "activation of a later block": ("streams.s.1", changed(activation="relu")),
    "activation no block fuses": ("streams.x.2", changed(activation="softplus")),
    "eps of one first block": ("streams.s.0.norm", changed(eps=5000.0)),
    "eps of a later block": ("streams.x.1.norm", changed(eps=1.0)),
    "a block without bias": ("streams.x.1", changed(conv=without_bias(Conv2d, 32, 32, 3))),
    "a stage without bias": ("stages.1", changed(conv_s=without_bias(Conv2d, 16, 10, 1))),
    "activation of one stage": ("stages.0.prediction", changed(activation_s="relu")),
    "p without bias": ("stages.2.prediction", changed(p=without_bias(Dense, 6, 3))),
}


def ages_of(model: SSRNet) -> np.ndarray:
    return predict_ages(model, FACES, Preprocessing())


def ages_in_training(model: SSRNet) -> np.ndarray:
    return model.train().loss(FACES, AGES)[1].numpy()


@pytest.mark.parametrize("ages", [ages_of, ages_in_training])
@pytest.mark.parametrize("change", SETTINGS)
def test_settings_are_heeded(change: str, ages: Callable[[SSRNet], np.ndarray]) -> None:
    model = SSRNet()
    before = ages(SSRNet())
    name, alter = SETTINGS[change]
    alter(dict(model.named_modules())[name])
    with composed():
        expected = ages(copy.deepcopy(model))
    np.testing.assert_allclose(ages(model), expected, atol=1e-3)  # years
    assert np.abs(before - expected).max() > 0.02  # or nothing was changed
