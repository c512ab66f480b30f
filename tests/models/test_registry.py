"""Networks by name."""

import inspect

import numpy as np
import pytest

from minissr.models import registry


@pytest.mark.parametrize("name", registry.MODELS)
def test_every_network_keeps_the_interface(name):
    """What train, evaluate and checkpoints rely on."""
    model = registry.build(name, rng=np.random.default_rng(0))
    assert "rng" in inspect.signature(model.forward).parameters
    assert list(inspect.signature(model.loss).parameters)[:3] == ["images", "ages", "rng"]
    config = model.config()
    assert config["name"] == name
    assert registry.build(**config).config() == config
