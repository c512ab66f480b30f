"""The `released` variant is the authors' graph: their weights, their numbers, their gradients."""

import contextlib

import numpy as np
import pytest

from minissr import Tensor, no_grad, use_backend
from minissr.models import registry
from minissr.models.keras_files import read_keras
from minissr.nn.module import composed
from minissr.training.optim import Adam
from tests.models.released import keras_names

NETWORKS = ("ssrnet_imdb", "ssrnet_morph2", "ssrnet_megaface_asian", "ssrnet_imdb_gender")


@pytest.fixture(autouse=True)
def _backend(backend):
    with use_backend(backend):
        yield


def released(reference_dir, name):
    pytest.importorskip("h5py", reason="h5py reads the released weights: pip install h5py")
    found = read_keras(reference_dir / "weights" / f"{name}.h5")
    model = registry.build(**found.layout.model).astype("float64")
    model.load_state_dict(found.state)
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_ages_and_everything_on_the_way_to_them(reference_dir, name):
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"]
    golden = np.load(reference_dir / "goldens" / f"{name}.npz")
    seen = released(reference_dir, name).explain(images)
    np.testing.assert_allclose(seen["age"], golden["out_numpy_f64"][:, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(seen["age"], golden["out_keras_f32"][:, 0], rtol=0, atol=1e-4)
    total = 0
    for k, stage in enumerate(seen["stages"], start=1):
        for ours, theirs in (
            (stage["p"], f"p{k}_f64"),
            (stage["eta"], f"eta{k}_f64"),
            (stage["delta"][:, None], f"delta{k}_f64"),
            (stage["hidden"]["mix"], f"feat{k}_f64"),
            (stage["hidden"]["s"], f"s_mix{k}_f64"),
            (stage["hidden"]["x"], f"x_mix{k}_f64"),
        ):
            np.testing.assert_allclose(ours, golden[theirs], rtol=0, atol=1e-11, err_msg=theirs)
        total += stage["contribution"]
    np.testing.assert_allclose(total, seen["age"], rtol=1e-12)


def test_the_maps_of_every_level(reference_dir):
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"][[0, 16]]
    golden = np.load(reference_dir / "goldens" / "ssrnet_imdb.npz")
    model = released(reference_dir, "ssrnet_imdb")
    with no_grad():
        for level, maps in enumerate(model.streams(Tensor(images)), start=1):
            for stream, found in zip("sx", maps, strict=True):
                expected = golden[f"{stream}_layer{level}_first2"]
                np.testing.assert_allclose(found.data, expected, rtol=0, atol=2e-5)


def test_float32_stays_close(reference_dir):
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"]
    golden = np.load(reference_dir / "goldens" / "ssrnet_imdb.npz")["out_numpy_f64"][:, 0]
    model = released(reference_dir, "ssrnet_imdb").astype("float32")
    with no_grad():
        assert abs(model(images).data - golden).max() < 1e-3


@pytest.mark.parametrize(
    ("golden", "slip", "fused"),
    [
        ("trainstep_initj", False, True),
        ("trainstep_initj", False, False),
        ("trainstep_megaface_asian", False, True),
        ("trainstep_initj_NNbug", True, True),
    ],
)
def test_one_training_step(reference_dir, golden, slip, fused):
    """Loss, every gradient, moving statistics and Adam's step, with and without the slip."""
    step = np.load(reference_dir / "goldens" / f"{golden}.npz")
    model = registry.build("ssrnet", variant="released", dropout=0.0, slip=slip).astype("float64")
    names = keras_names(model)
    model.load_state_dict({ours: step[f"w0/{theirs}"] for ours, theirs in names.items()})
    with contextlib.nullcontext() if fused else composed():
        loss, predicted = model.loss(step["x_u8_bgr"], step["y"])
    assert loss.item() == pytest.approx(step["loss"].item(), rel=1e-12)
    expected = np.diagonal(step["out_train"]) if slip else step["out_train"][:, 0]
    np.testing.assert_allclose(predicted.data, expected, rtol=1e-11)

    loss.backward()
    for name, parameter in model.named_parameters():
        grad = step[f"grad/{names[name]}"]
        scale = max(abs(grad).max(), 1e-3)
        np.testing.assert_allclose(parameter.grad, grad, rtol=0, atol=1e-8 * scale, err_msg=name)
    state = model.state_dict()
    for name in (n for n, _ in model.named_buffers()):
        layer, _, leaf = names[name].partition("/")
        short = {"moving_mean": "mm1", "moving_variance": "mv1"}[leaf]
        np.testing.assert_allclose(state[name], step[f"{short}/{layer}"], rtol=1e-10, err_msg=name)

    Adam(model.parameters(), lr=1e-3).step()
    for name, parameter in model.named_parameters():
        # A bias before a batch norm has no gradient but rounding noise, which Adam blows up.
        if ".conv.b" not in name:
            moved = step[f"adam1/{names[name]}"]
            far = abs(step[f"grad/{names[name]}"]) > 1e-6
            np.testing.assert_allclose(
                parameter.data[far], moved[far], rtol=0, atol=1e-9, err_msg=name
            )
