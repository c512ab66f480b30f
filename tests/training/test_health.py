"""Stage health on stages whose answers are known, and on the released weights."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from minissr import use_backend
from minissr.models import registry
from minissr.training.health import judge, spread, stage_health
from tests.models.released import read_keras

N = 40


@pytest.fixture(autouse=True)
def _numpy():
    with use_backend("numpy"):
        yield


def seen(**changes):
    """A live stage of three bins: p and eta swing between two answers, widths are 30 and 40."""
    odd = np.arange(N) % 2
    stage = {
        "p": np.where(odd[:, None], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]),
        "eta": np.where(odd[:, None], 0.1, -0.1) * np.ones(3),
        "delta": np.where(odd, 0.3, -0.1),
        "width": np.where(odd, 30.0, 40.0),
        "used": {"s": np.array([True, True, False]), "x": np.ones(3, bool)},
    }
    stage.update(changes)
    bins = np.arange(3) + stage["eta"]
    stage.setdefault("index", (stage["p"] * bins).sum(axis=1))
    return stage


def test_a_live_stage_in_numbers():
    health = judge(2, seen(), True, True)
    # the index is 1.3 + 0.1 or 0.5 - 0.1, so it swings by 0.5 about its mean
    assert health.own_std == pytest.approx(35 * 0.5)
    assert health.mean_width == pytest.approx(35)
    assert health.p_std == pytest.approx(math.sqrt((0.2**2 + 0 + 0.2**2) / 3))
    assert health.eta_std == pytest.approx(0.1)
    assert health.delta_std == pytest.approx(0.2)
    assert health.dead_share == pytest.approx(1 / 6)
    assert health.alive
    assert health.stage == 2


def test_a_stage_is_not_alive_because_widths_move_it():
    constant = seen(p=np.tile([0.2, 0.3, 0.5], (N, 1)), eta=np.zeros((N, 3)))
    health = judge(1, constant, True, True)
    contribution = constant["width"] * constant["index"]
    assert contribution.std() > 1  # years, and yet:
    assert health.own_std == pytest.approx(0, abs=1e-12)
    assert not health.alive


CONSTANT_P = np.tile([0.2, 0.3, 0.5], (N, 1))


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({"p": CONSTANT_P}, False),  # the index still moves, through eta
        ({"eta": np.zeros((N, 3))}, False),
        ({"delta": np.zeros(N)}, False),
        ({"used": {"s": np.zeros(3, bool), "x": np.ones(3, bool)}}, False),
        ({"index": np.where(np.arange(N) % 2, 1.0, 1.09)}, False),  # 0.045 of a width
        ({"index": np.where(np.arange(N) % 2, 1.0, 1.11)}, True),  # 0.055 of a width
    ],
)
def test_each_condition_alone_decides(changes, alive):
    assert judge(1, seen(**changes), True, True).alive == alive


def test_a_part_the_network_lacks_is_not_asked_for():
    without = seen(eta=np.zeros((N, 3)), delta=np.zeros(N))
    assert not judge(1, without, True, True).alive
    assert not judge(1, without, True, False).alive
    assert judge(1, without, False, False).alive


def test_spread_is_the_root_mean_square_over_bins():
    values = np.random.default_rng(0).standard_normal((50, 4)) * [1, 2, 3, 4]
    assert spread(values) == pytest.approx(math.sqrt((values.std(axis=0) ** 2).mean()))


def test_json_has_the_documented_keys_and_no_infinities():
    health = judge(1, seen(width=np.full(N, np.inf)), True, True)
    plain = json.loads(json.dumps(health.to_json(), allow_nan=False))
    assert set(plain) == {
        "stage", "own_std", "mean_width", "p_std", "eta_std", "delta_std", "dead_share", "alive"
    }  # fmt: skip
    assert plain["mean_width"] is None


class Told:
    """A network that has its explanations ready, a row of numbers an image."""

    def __init__(self, p, used):
        self.p, self.used = p, used
        self.settings = SimpleNamespace(lambda_d=1.0, lambda_local=1.0)
        self.batches = []

    def explain(self, rows):
        self.batches.append(len(rows))
        p = self.p[rows]
        stage = {
            "p": p,
            "eta": p - 0.5,
            "delta": p[:, 0],
            "width": 30 + 10 * p[:, 0],
            "index": p[:, 1],
            "hidden": {"s": self.used[rows]},
        }
        return {"stages": [stage]}


def test_batches_make_no_difference():
    rng = np.random.default_rng(0)
    model = Told(rng.random((17, 2)), np.zeros((17, 3)))
    model.used[16, 1] = 1  # a unit that only the last image wakes
    whole = stage_health(model, np.arange(17))
    assert whole == stage_health(model, np.arange(17), batch_size=4)
    assert model.batches == [17, 4, 4, 4, 4, 1]
    assert whole[0].dead_share == pytest.approx(2 / 3)
    assert not whole[0].dead_layers


def test_a_network_without_stages_has_no_health():
    assert stage_health(SimpleNamespace(), np.zeros((2, 3))) == []


def test_one_image_can_not_show_health():
    with pytest.raises(ValueError, match="needs at least 2"):
        stage_health(registry.build("ssrnet"), np.zeros((1, 64, 64, 3), np.uint8))


def test_ours_starts_without_a_dead_unit():
    images = np.random.default_rng(0).integers(0, 256, (8, 46, 46, 3), dtype=np.uint8)
    health = stage_health(registry.build("ssrnet", image_size=46), images)
    assert [stage.stage for stage in health] == [1, 2, 3]
    assert all(stage.dead_share == 0 for stage in health)


@pytest.mark.parametrize(
    ("name", "alive"),
    [
        ("ssrnet_imdb", [False, False, False]),
        ("ssrnet_morph2", [False, False, False]),
        ("ssrnet_megaface_asian", [True, False, False]),
    ],
)
def test_the_released_weights_are_as_dead_as_they_are_known_to_be(reference_dir, name, alive):
    pytest.importorskip("h5py", reason="h5py reads the released weights: pip install h5py")
    model = registry.build("ssrnet", variant="released")
    model.load_state_dict(read_keras(reference_dir / "weights" / f"{name}.h5", model))
    faces = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"][16:]
    health = stage_health(model, faces)
    assert [stage.alive for stage in health] == alive
    for stage in health:
        assert stage.delta_std > 0.01
        if not stage.alive:
            assert "s" in stage.dead_layers
            assert stage.p_std < 1e-7
