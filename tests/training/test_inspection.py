"""Which ages can be reached, and what is known of the released weights, found again."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minissr import Tensor, ops, use_backend
from minissr.data.images import decode, shrink
from minissr.models import registry
from minissr.models.ssrnet import Settings
from minissr.training.inspection import inspect_stages, product, reachable_ages
from tests.models.released import read_keras

RNG = np.random.default_rng(0)
N = 6


def parts(bins: int, moving: str) -> dict[str, np.ndarray]:
    """A stage whose parts named in `moving` differ from face to face."""
    stage = {
        "p": RNG.dirichlet(np.ones(bins), N),
        "eta": RNG.uniform(-0.9, 0.9, (N, bins)),
        "delta": RNG.uniform(-0.9, 0.9, (N, 1)),
    }
    for name, values in stage.items():
        if name not in moving.split():
            values[:] = values[0]
    return stage


def age(stages: list[dict[str, np.ndarray]], settings: Settings) -> np.ndarray:
    p, eta, delta = (np.concatenate([s[name] for s in stages], axis=1) for name in stages[0])
    formula = {
        "stages": settings.stages,
        "min_age": settings.min_age,
        "max_age": settings.max_age,
        "c_delta": settings.lambda_d,
        "c_eta": settings.lambda_local,
        "floor": settings.floor,
    }
    with use_backend("numpy"):
        return ops.soft_stagewise_regression(
            Tensor(p), Tensor(eta), Tensor(delta), **formula
        ).numpy()


@pytest.mark.parametrize("moving", ["", "delta", "eta", "p", "eta delta", "p eta delta"])
def test_ends_are_reached_and_never_passed(moving: str) -> None:
    """Against all corners of what moves, and random points between."""
    settings = Settings(
        stages=(3, 2), min_age=2.0, max_age=80.0, lambda_d=0.8, activation_p="softmax"
    )
    stages = [parts(bins, moving) for bins in settings.stages]
    low, high = reachable_ages(settings, stages)
    ends = []
    for corner in itertools.product((-1, 1), repeat=4):
        for picked in itertools.product(range(3), range(2)):
            for fixed, bins, sign, delta, one in zip(
                stages, settings.stages, corner[:2], corner[2:], picked, strict=True
            ):
                tried = {name: values.copy() for name, values in fixed.items()}
                if "p" in moving.split():
                    tried["p"][:] = np.eye(bins)[one]
                if "eta" in moving:
                    tried["eta"][:] = sign
                if "delta" in moving:
                    tried["delta"][:] = delta
                ends.append(tried)
            ends[-2:] = [ends[-2:]]  # type: ignore[list-item]
    ages = np.concatenate([age(pair, settings) for pair in ends])  # type: ignore[arg-type]
    assert ages.min() == pytest.approx(low)
    assert ages.max() == pytest.approx(high)
    seen = age(stages, settings)
    assert low - 1e-9 <= seen.min() <= seen.max() <= high + 1e-9


def test_relu_has_no_upper_end_and_the_pole_none_either() -> None:
    free = Settings(stages=(3,), floor=0.0)
    low, high = reachable_ages(free, [parts(3, "p")])
    assert high == np.inf
    assert low == pytest.approx(-np.inf) or low == 0  # as eta of bin 0 is below 0 or not
    low, high = reachable_ages(free, [parts(3, "delta")])
    assert high == np.inf
    assert np.isfinite(low)
    held = Settings(stages=(3,), floor=0.5, activation_p="tanh")
    assert np.isfinite(reachable_ages(held, [parts(3, "p eta delta")])).all()


def test_zero_times_infinity_is_no_age() -> None:
    assert product((0.0, np.inf), (0.0, 2.0)) == (0.0, np.inf)
    assert product((-1.0, 2.0), (-3.0, 1.0)) == (-6.0, 3.0)


@pytest.fixture(scope="module")
def faces(request: pytest.FixtureRequest) -> np.ndarray:
    """200 real faces, evenly from the archive, BGR as the released weights want them."""
    folder: Path = request.getfixturevalue("utkface_dir")
    images = []
    with tarfile.open(folder / "UTKFace.tar") as archive:
        pictures = [m for m in archive if m.isfile() and m.name.endswith(".jpg")]
        for member in pictures[:: -(-len(pictures) // 200)]:
            handle = archive.extractfile(member)
            assert handle is not None
            images.append(shrink(decode(handle.read())))
    return np.ascontiguousarray(np.stack(images)[..., ::-1])


# ../shared/reference/ARCHITECTURE.md, section 10: facts 2 to 4.
KNOWN: dict[str, dict[str, Any]] = {
    "imdb": {"n": (0.92162, 0.82221, 1.08681), "lowest": 18.33, "alive": 0},
    "morph2": {"n": (0.81167, 0.67750, 1.14524), "lowest": 16.10, "alive": 0},
    "megaface_asian": {"alive": 1},
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_of_the_released_weights(
    reference_dir: Path, faces: np.ndarray, name: str
) -> None:
    pytest.importorskip("h5py", reason="h5py reads the released weights: pip install h5py")
    model = registry.build("ssrnet", variant="released")
    weights = reference_dir / "weights" / f"ssrnet_{name}.h5"
    model.load_state_dict(read_keras(weights, model))
    with use_backend("numpy"):
        seen = inspect_stages(model, faces)
    known = KNOWN[name]
    assert seen.alive == known["alive"]
    if name == "megaface_asian":
        assert [stage.health.alive for stage in seen.stages] == [True, False, False]
        assert [stage.constant for stage in seen.stages] == [(), ("p", "eta"), ("p", "eta")]
        return
    assert all(stage.constant == ("p", "eta") for stage in seen.stages)
    for stage, n in zip(seen.stages, known["n"], strict=True):
        p, eta = stage.parts["p"][0], stage.parts["eta"][0]
        assert (p * (np.arange(3) + eta)).sum() == pytest.approx(n, abs=1e-5)
    assert seen.reachable is not None
    assert seen.reachable[0] == pytest.approx(known["lowest"], abs=0.01)
    assert known["lowest"] < seen.ages.min() < known["lowest"] + 15
