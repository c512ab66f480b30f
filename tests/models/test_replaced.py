"""A part of the network that somebody replaced computes, whatever shortcut there is for the parts
it stood among: in training, in evaluation and in the inference engine.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minissr import no_grad
from minissr.data.preprocessing import Preprocessing
from minissr.models.ssrnet import SSRNet
from minissr.nn.module import Module
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
