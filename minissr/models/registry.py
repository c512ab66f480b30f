"""Networks by name: what `--model NAME` and a checkpoint's configuration mean."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from minissr.nn.module import Module

# Name -> where its class is. The class takes `rng` and its own settings as keywords, and has
# `forward(images, rng=None) -> ages (N,)`, `loss(images, ages, rng=None, criterion=MAE) -> (loss,
# ages (N,))` and `config()`, from which `build` makes it again.
MODELS = {
    "ssrnet": ("minissr.models.ssrnet", "SSRNet"),
    "mobilenet": ("minissr.models.mobilenet", "MobileNet"),
    "densenet": ("minissr.models.densenet", "DenseNet"),
}


def build(name: str, *, rng: np.random.Generator | None = None, **settings: Any) -> Module:
    """A new network.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    rng : Generator, optional
        Draws the initial weights.
    **settings
        The network's own, for example `variant="released"` or `stages=(3, 3, 3)`.

    Raises
    ------
    ValueError
        If the name or a setting is unknown, with what there is.

    Examples
    --------
    >>> network = build("ssrnet", stages=(2, 4))
    >>> network.config()["stages"]
    [2, 4]
    >>> build("resnet")
    Traceback (most recent call last):
    ...
    ValueError: model 'resnet' is none of ssrnet, mobilenet, densenet
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is none of {', '.join(MODELS)}")
    module, kind = MODELS[name]
    network: Module = getattr(importlib.import_module(module), kind)(rng=rng, **settings)
    for dotted, parameter in network.named_parameters():
        parameter.name = dotted
    return network
