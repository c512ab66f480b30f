"""`minissr.load(...)`: ages, explanations, health, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr.data.synthetic import draw_faces
from minissr.errors import CheckpointError
from minissr.estimator import Estimator


@pytest.fixture(scope="module")
def estimator(trained: Path) -> Estimator:
    return minissr.load(trained, backend="numpy")


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return draw_faces(5, stream="test")[0]


def test_predict_gives_an_age_a_face(estimator: Estimator, faces: np.ndarray) -> None:
    ages = estimator.predict(faces)
    assert ages.shape == (5,)
    assert ages.dtype == np.float32
    assert len(np.unique(ages)) == 5


def test_an_age_does_not_depend_on_the_company(estimator: Estimator, faces: np.ndarray) -> None:
    many = np.concatenate([faces] * 30)  # more than one batch
    np.testing.assert_allclose(estimator.predict(many)[-5:], estimator.predict(faces), rtol=1e-5)


def test_colours_are_put_in_order(estimator: Estimator, faces: np.ndarray) -> None:
    turned = np.ascontiguousarray(faces[..., ::-1])
    np.testing.assert_array_equal(estimator.predict(turned, colour="bgr"), estimator.predict(faces))
    assert np.abs(estimator.predict(turned) - estimator.predict(faces)).max() > 0


def test_no_faces_have_no_ages(estimator: Estimator, faces: np.ndarray) -> None:
    assert estimator.predict(faces[:0]).shape == (0,)


def test_explanations_add_up(estimator: Estimator, faces: np.ndarray) -> None:
    told = estimator.explain(faces[0])
    assert told["age"] == pytest.approx(float(estimator.predict(faces[:1])[0]), rel=1e-5)
    assert sum(s["contribution"] for s in told["stages"]) == pytest.approx(told["age"], rel=1e-5)
    for stage in told["stages"]:
        assert stage["p"].shape == stage["eta"].shape == (3,)
        assert stage["edges"].shape == (3, 2)
        np.testing.assert_allclose(np.diff(stage["edges"])[:, 0], stage["width"], rtol=1e-4)


def test_health_compares_faces(estimator: Estimator, faces: np.ndarray) -> None:
    told = estimator.health(faces)
    assert [stage["stage"] for stage in told] == [1, 2, 3]
    alone = estimator.health(np.repeat(faces[:1], 4, axis=0))
    assert not any(stage["alive"] for stage in alone)
    assert all(stage["own_std"] < 1e-5 for stage in alone)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f[0], "face\\[None\\]"),
        (lambda f: f[:, :32], "expected \\(N, 64, 64, 3\\)"),
        (lambda f: f[..., :1], "expected \\(N, 64, 64, 3\\)"),
        (lambda f: f / 255, "expected uint8"),
        (lambda f: f.astype(int), "expected uint8"),
        (lambda f: "face.jpg", "expected \\(N, 64, 64, 3\\)"),
    ],
)
def test_other_things_than_faces_are_refused(
    estimator: Estimator, faces: np.ndarray, change: object, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        estimator.predict(change(faces))  # type: ignore[operator]


def test_other_misuse_is_refused(estimator: Estimator, faces: np.ndarray) -> None:
    with pytest.raises(ValueError, match="none of rgb, bgr"):
        estimator.predict(faces, colour="grey")
    with pytest.raises(ValueError, match="one at a time"):
        estimator.explain(faces)
    with pytest.raises(ValueError, match="at least 2"):
        estimator.health(faces[:1])


def test_every_way_to_name_a_network(trained: Path, faces: np.ndarray) -> None:
    for source in (trained, str(trained), trained / "best.safetensors"):
        assert minissr.load(source, backend="numpy").predict(faces[:1]).shape == (1,)


def test_last_stands_in_for_best(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes((trained / "last.safetensors").read_bytes())
    assert minissr.load(tmp_path).network.path.name == "last.safetensors"


@pytest.mark.parametrize("name", ["nothing", "x.safetensors", "x.h5"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=name):
        minissr.load(name)


def test_a_network_nobody_can_build_is_named(trained: Path, tmp_path: Path) -> None:
    from minissr.training.checkpoint import read_checkpoint, save_checkpoint

    checkpoint = read_checkpoint(trained / "best.safetensors")
    for change in ({"name": "resnet"}, {"name": "ssrnet", "wings": 2}, "nonsense", None):
        about = {k: v for k, v in checkpoint.metadata.items() if k not in ("sha256", "model")}
        save_checkpoint(tmp_path / "x", checkpoint.tensors, {**about, "model": change})
        with pytest.raises(CheckpointError, match="can't build"):
            minissr.load(tmp_path / "x")


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_flip_is_the_mean_of_a_face_and_its_mirror_image(
    trained: Path, faces: np.ndarray, backend: str
) -> None:
    plain, flipped = (minissr.load(trained, backend=backend, flip=flip) for flip in (False, True))
    both = plain.predict(faces), plain.predict(faces[:, :, ::-1])
    np.testing.assert_allclose(flipped.predict(faces), np.mean(both, axis=0), rtol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 0
