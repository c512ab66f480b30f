"""The summary is traced from a forward, not written down: it knows 40,915 and 17,078,926."""

import numpy as np
import pytest

from minissr import Tensor, use_backend
from minissr.models import registry
from minissr.models.summary import summary, trace
from minissr.nn.layers import Dense
from minissr.nn.module import Module

# ARCHITECTURE of the released network: (parameters, multiply-adds, height x width of the output).
EXPECTED = {
    "streams.x.0.conv": (896, 3_321_216, 62),
    "streams.x.1.conv": (9_248, 7_750_656, 29),
    "streams.x.2.conv": (9_248, 1_327_104, 12),
    "streams.x.3.conv": (9_248, 147_456, 4),
    "streams.s.0.conv": (448, 1_660_608, 62),
    "streams.s.1.conv": (2_320, 1_937_664, 29),
    "streams.s.2.conv": (2_320, 331_776, 12),
    "streams.s.3.conv": (2_320, 36_864, 4),
    "stages.0.conv_s": (170, 2_560, 4),
    "stages.0.conv_x": (330, 5_120, 4),
    "stages.1.conv_s": (170, 31_360, 14),
    "stages.1.conv_x": (330, 62_720, 14),
    "stages.2.conv_s": (170, 153_760, 31),
    "stages.2.conv_x": (330, 307_520, 31),
}


@pytest.fixture(autouse=True)
def _numpy():
    with use_backend("numpy"):
        yield


@pytest.fixture(scope="module")
def rows():
    with use_backend("numpy"):
        model = registry.build("ssrnet", variant="released")
        return {row.name: row for row in trace(model, np.zeros((1, 64, 64, 3), np.uint8))}


@pytest.mark.parametrize("name", EXPECTED)
def test_convolutions(rows, name):
    row = rows[name]
    parameters, macs, side = EXPECTED[name]
    assert (row.parameters, row.macs) == (parameters, macs)
    assert row.shape[:2] == (side, side)


def test_levels(rows):
    sides = [rows[f"streams.x.{i}"].shape for i in range(4)]
    assert sides == [(31, 31, 32), (14, 14, 32), (6, 6, 32), (4, 4, 32)]


def test_totals_are_the_papers():
    model = registry.build("ssrnet", variant="released")
    *_, total = summary(model).splitlines()
    assert total.split() == ["total", "40,915", "17,078,926"]


def test_total_parameters_are_the_models_own():
    model = registry.build("ssrnet", variant="paper", stages=(2, 4))
    every = trace(model, np.zeros((1, 64, 64, 3), np.uint8))
    assert sum(row.parameters for row in every) == model.parameter_count()


def test_it_changes_nothing_and_counts_one_image():
    model = registry.build("ssrnet")
    state = model.state_dict()
    one, four = (
        sum(row.macs for row in trace(model, np.zeros((n, 64, 64, 3), np.uint8))) for n in (1, 4)
    )
    assert one == four
    assert model.training
    assert all(np.array_equal(a, state[name]) for name, a in model.state_dict().items())


class Twice(Module):
    def __init__(self):
        self.layer = Dense(4, 4, rng=np.random.default_rng(0))

    def forward(self, x):
        return self.layer(self.layer(Tensor(x)))


def test_a_layer_called_twice_computes_twice_and_is_counted_once():
    whole, *calls = trace(Twice(), np.zeros((3, 4), np.float32))
    assert [row.macs for row in calls] == [16, 16]
    assert [row.parameters for row in calls] == [20, 0]
    assert (whole.name, whole.shape) == ("", (4,))
