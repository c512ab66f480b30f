"""MobileNet and DenseNet: the authors' graphs, their loss, their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from minissr import Tensor, no_grad, use_backend
from minissr.models import registry
from minissr.models.summary import summary

# Smaller than a face, so that nothing takes long; sides are even and odd on the way.
SMALL = {
    "mobilenet": {"image_size": 20, "alpha": 0.25},
    "densenet": {"image_size": 10, "depth": 7},
}


def network(name, **changes):
    settings = {**SMALL[name], "dropout": 0.0, **changes}
    return registry.build(name, rng=np.random.default_rng(1), **settings).astype("float64")


def images_for(model, n=3):
    size = model.image_size
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("mobilenet", {"alpha": 0.25}, 226_309),
        ("mobilenet", {"alpha": 0.5}, 842_421),
        ("densenet", {"depth": 13}, 108_377),
        ("densenet", {"depth": 19}, 242_009),
    ],
)
def test_as_many_numbers_as_the_released_files_hold(name, settings, count):
    model = registry.build(name, **settings)
    assert model.parameter_count() == count
    assert registry.build(**model.config()).config() == model.config()


@pytest.mark.parametrize("name", SMALL)
def test_both_backends_say_and_learn_the_same(name):
    seen = {}
    for backend in ("numpy", "numba"):
        model = network(name)
        with use_backend(backend):
            loss, ages = model.loss(images_for(model), np.float64([20, 30, 60]))
            loss.backward()
        seen[backend] = {"ages": ages.data, **model.state_dict()}
        seen[backend] |= {f"grad {n}": p.grad for n, p in model.named_parameters()}
    for key, expected in seen["numpy"].items():
        scale = max(abs(expected).max(), 1e-3)
        np.testing.assert_allclose(
            seen["numba"][key], expected, rtol=0, atol=1e-9 * scale, err_msg=key
        )


@pytest.mark.parametrize("name", SMALL)
def test_the_gradients_of_the_whole_loss(name, backend):
    """By finite differences, in the head, in the first layer and where weights decay."""
    model = network(name, **({"l2": 0.1} if name == "densenet" else {}))
    images, ages = images_for(model), np.float64([20, 30, 60])
    first = model.first if name == "densenet" else model.first.conv
    middle = model.transitions[0].conv if name == "densenet" else model.blocks[3].depthwise.conv
    parameters = [first.w, middle.w, model.feature.w, model.age.b]

    with use_backend(backend):
        total, _ = model.loss(images, ages)
        total.backward()
        for parameter in parameters:
            rng = np.random.default_rng(2)
            direction = rng.standard_normal(parameter.shape)
            direction /= np.linalg.norm(direction)
            kept, step = parameter.data.copy(), 1e-8  # so small because of the kinks
            ends = []
            for sign in (1, -1):
                parameter.data = kept + sign * step * direction
                with no_grad():
                    ends.append(model.loss(images, ages)[0].item())
            parameter.data = kept
            slope = (ends[0] - ends[1]) / (2 * step)
            assert np.vdot(parameter.grad, direction) == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_decay_is_of_three_convolutions_and_no_other_weight():
    model = network("densenet", l2=1e-2)
    plain = network("densenet", l2=0.0)
    images, ages = images_for(model), np.float64([20, 30, 60])
    with use_backend("numpy"):
        loss, predicted = model.loss(images, ages)
        error, same = plain.loss(images, ages)
        loss.backward()
        error.backward()
    np.testing.assert_array_equal(predicted.data, same.data)
    decaying = ["first.w", "transitions.0.conv.w", "transitions.1.conv.w"]
    squares = sum((model.state_dict()[name] ** 2).sum() for name in decaying)
    assert loss.item() == pytest.approx(error.item() + 1e-2 * squares, rel=1e-12)
    for (name, with_decay), without in zip(
        model.named_parameters(), plain.parameters(), strict=True
    ):
        expected = without.grad + (2e-2 * without.data if name in decaying else 0)
        np.testing.assert_allclose(with_decay.grad, expected, rtol=1e-12, atol=1e-14, err_msg=name)


def test_same_padding_is_at_the_bottom_and_on_the_right():
    """A stride of 2 on even sides looks at pixels 0, 1, 2 first: TensorFlow's way."""
    model = network("mobilenet", image_size=8)
    image = np.zeros((1, 8, 8, 3))
    image[0, 0, 0] = 1
    with no_grad(), use_backend("numpy"):
        seen = model.first.conv(Tensor(image)).data
    np.testing.assert_allclose(seen[0, 0, 0], model.first.conv.w.data[0, 0].sum(axis=0))
    assert (seen[0, 1:] == 0).all()


def test_dense_layers_put_what_is_new_behind():
    model = network("densenet")
    x = Tensor(np.random.default_rng(0).standard_normal((1, 4, 4, 24)))
    with no_grad(), use_backend("numpy"):
        model.eval()
        y = model.blocks[0](x).data
    np.testing.assert_array_equal(y[..., :24], x.data)
    assert y.shape == (1, 4, 4, 36)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("mobilenet", {"alpha": 0.01}, "alpha 0.01"),
        ("mobilenet", {"alpha": float("nan")}, "alpha nan"),
        ("mobilenet", {"image_size": 0}, "image_size 0"),
        ("mobilenet", {"dropout": 1.0}, "dropout 1.0"),
        ("densenet", {"depth": 12}, "depth 12"),
        ("densenet", {"depth": 4}, "depth 4"),
        ("densenet", {"l2": -1.0}, "l2 -1.0"),
        ("densenet", {"image_size": 3}, "image_size 3"),
    ],
)
def test_settings_that_make_no_sense_are_named(name, settings, says):
    with pytest.raises(ValueError, match=says):
        registry.build(name, **settings)


def test_the_summary_of_a_network_without_stages():
    text = summary(registry.build("mobilenet"))
    assert text.splitlines()[-1].split()[:2] == ["total", "226,309"]
    assert "DepthwiseConv2d" in text


@pytest.mark.parametrize(
    ("weights", "golden"),
    [("mobilenet_imdb", "mobilenet0.25_imdb"), ("densenet_imdb", "densenet19_imdb")],
)
def test_ages_of_the_released_weights(reference_dir, weights, golden, backend):
    pytest.importorskip("h5py", reason="h5py reads the released weights: pip install h5py")
    from minissr.models.keras_files import read_keras

    found = read_keras(reference_dir / "weights" / f"{weights}.h5")
    model = registry.build(**found.layout.model)
    model.load_state_dict(found.state)
    model.eval()
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"]
    told = np.load(reference_dir / "goldens" / f"{golden}.npz")
    with no_grad(), use_backend(backend):
        ages, features = model(images).data, model.features(images).data
        maps = (model.means if hasattr(model, "means") else model.maps)(images).data
        exact = model.astype("float64")(images[::8]).data
    np.testing.assert_allclose(ages, told["out_numpy_f64"][:, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(ages, told["out_keras_f32"][:, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(exact, told["out_numpy_f64"][::8, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(features, told["feat_a"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(maps, told["backbone"], rtol=0, atol=1e-4)
