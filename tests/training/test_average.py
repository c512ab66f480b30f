"""The moving average of a network: its formula, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from minissr.errors import CheckpointError
from minissr.models.registry import build
from minissr.training.average import Average
from minissr.training.optim import Adam
from tests.training.tiny import NETWORK


@pytest.fixture
def trained():
    """A tiny network, its optimiser and average, and its states before and after three steps."""
    model = build("ssrnet", **NETWORK)
    optimizer = Adam(model.parameters(), 0.01)
    average = Average(model, optimizer, 0.25)
    states = [model.state_dict()]
    rng = np.random.default_rng(0)
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = rng.standard_normal(parameter.shape).astype(np.float32)
        optimizer.step()
        for _, buffer in model.named_buffers():
            buffer += 1
        average.update()
        states.append(model.state_dict())
    return model, optimizer, average, states


def test_it_is_its_formula_for_weights_and_statistics(trained):
    _, _, average, states = trained
    for name, mean in average.state_dict().items():
        expected = states[0][name].astype(float)
        for t, state in enumerate(states[1:], start=1):
            d = min(0.25, (1 + t) / (10 + t))
            expected = d * expected + (1 - d) * state[name]
        np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_showing_it_leaves_the_network_as_it_was(trained):
    model, optimizer, average, states = trained
    with average.shown():
        assert not np.array_equal(model.state_dict()["stages.0.delta.w"],
                                  states[-1]["stages.0.delta.w"])  # fmt: skip
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, states[-1][name])
    assert all(np.shares_memory(p.data, optimizer.flat) for p in model.parameters())


def test_its_state_can_be_taken_up(trained):
    model, optimizer, average, states = trained
    other = Average(model, optimizer, 0.25)
    other.load_state_dict(average.state_dict())
    for a, b in zip(other.means, average.means, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.state_dict()["stages.0.delta.w"],
                                  states[-1]["stages.0.delta.w"])  # fmt: skip
    with pytest.raises(CheckpointError, match=r"the average: .*missing"):
        other.load_state_dict({})
