"""Layers: shapes, moving statistics, modes; a stream block composed and fused."""

import math

import numpy as np
import pytest

from minissr import Tensor, no_grad, ops, use_backend
from minissr.nn.layers import (
    BatchNorm,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    Dropout,
    StreamBlock,
    activate,
)
from minissr.nn.module import composed


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def _numpy():
    """Layers only arrange ops; which backend computes them is the ops' tests' concern."""
    with use_backend("numpy"):
        yield


def normal(*shape, seed=0, dtype=np.float64):
    return rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (2, 6, 7, 4)),
        ({"stride": 2}, (2, 3, 4, 4)),
        ({"padding": "same"}, (2, 8, 9, 4)),
        ({"bias": False}, (2, 6, 7, 4)),
    ],
)
def test_conv_is_the_op_with_its_parameters(settings, shape):
    layer = Conv2d(3, 4, 3, rng=rng(), **settings).astype("float64")
    x = Tensor(normal(2, 8, 9, 3))
    y = layer(x)
    assert y.shape == shape
    bias = settings.pop("bias", True)
    assert (layer.b is not None) == bias
    assert np.array_equal(y.data, ops.conv2d(x, layer.w, layer.b, **settings).data)


def test_depthwise_keeps_channels_apart():
    layer = DepthwiseConv2d(3, 3, rng=rng(), padding="same", bias=False)
    x = np.zeros((1, 5, 5, 3), np.float32)
    x[..., 1] = 1
    y = layer(Tensor(x)).data
    assert y[..., 1].any()
    assert not y[..., 0].any()
    assert not y[..., 2].any()
    assert list(layer.state_dict()) == ["w"]


@pytest.mark.parametrize(
    ("layer", "inputs", "outputs", "macs"),
    [
        (Conv2d(3, 32, 3, rng=rng()), (1, 64, 64, 3), (1, 62, 62, 32), 3_321_216),
        (DepthwiseConv2d(8, 3, rng=rng()), (1, 6, 6, 8), (1, 4, 4, 8), 16 * 9 * 8),
        (Dense(160, 3, rng=rng()), (1, 160), (1, 3), 480),
    ],
)
def test_multiply_adds(layer, inputs, outputs, macs):
    y = layer(Tensor(np.zeros(inputs, np.float32)))
    assert y.shape == outputs
    assert layer.macs(y.shape) == macs


class TestBatchNorm:
    def test_normalises_by_the_batch_and_follows_it(self):
        norm, x = BatchNorm(3, momentum=0.9).astype("float64"), 5 + 2 * normal(40, 3)
        y = norm(Tensor(x)).data
        assert np.allclose(y.mean(0), 0, atol=1e-12)
        assert np.allclose(y.var(0), x.var(0) / (x.var(0) + 1e-3))
        assert np.allclose(norm.moving_mean, 0.1 * x.mean(0))
        assert np.allclose(norm.moving_variance, 0.9 + 0.1 * x.var(0))

    def test_unbiased_follows_n_over_n_minus_one(self):
        norm, x = BatchNorm(2, momentum=0.0, unbiased=True).astype("float64"), normal(5, 2)
        norm(Tensor(x))
        assert np.allclose(norm.moving_variance, x.var(0, ddof=1))

    def test_evaluation_uses_the_moving_statistics_and_leaves_them(self):
        norm = BatchNorm(2).astype("float64")
        norm.moving_mean[...] = [1, 2]
        norm.moving_variance[...] = [4, 9]
        norm.eval()
        x = normal(1, 2)
        y = norm(Tensor(x)).data
        assert np.allclose(y, (x - [1, 2]) / np.sqrt(np.array([4, 9]) + 1e-3))
        assert norm.moving_mean.tolist() == [1, 2]

    def test_evaluation_has_a_gradient(self):
        norm = BatchNorm(2).eval()
        norm(Tensor(normal(3, 2, dtype=np.float32))).sum().backward()
        assert norm.beta.grad.tolist() == [3, 3]

    def test_a_batch_of_one_is_refused_with_the_remedy(self):
        for layer in (BatchNorm(3), StreamBlock(3, 4, "relu", "avg", rng=rng())):
            with pytest.raises(ValueError, match=r"batch of 1; use a batch size of 2"):
                layer(Tensor(np.zeros((1, 8, 8, 3), np.float32)))


class TestDropout:
    def test_drops_in_training_only(self):
        layer, x = Dropout(0.5), Tensor(np.ones((50, 50), np.float32))
        y = layer(x, rng()).data
        assert set(np.unique(y)) == {0.0, 2.0}
        assert y.mean() == pytest.approx(1, abs=0.1)
        assert layer.eval()(x) is x

    def test_same_generator_same_mask(self):
        layer, x = Dropout(0.3), Tensor(np.ones(100, np.float32))
        assert np.array_equal(layer(x, rng(3)).data, layer(x, rng(3)).data)
        assert not np.array_equal(layer(x, rng(3)).data, layer(x, rng(4)).data)

    def test_needs_a_generator_in_training(self):
        with pytest.raises(ValueError, match="needs rng"):
            Dropout(0.2)(Tensor(np.ones(3, np.float32)))

    def test_rate_zero_needs_none(self):
        x = Tensor(np.ones(3, np.float32))
        assert Dropout(0.0)(x) is x

    @pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
    def test_refuses_a_rate_outside(self, rate):
        with pytest.raises(ValueError, match=f"dropout {rate}"):
            Dropout(rate)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "relu6", "softplus", "softmax", "tanh"])
def test_activations_by_name(name):
    x = Tensor(normal(3, 4))
    assert np.array_equal(activate(x, name).data, getattr(ops, name)(x).data)
    assert activate(x, "linear") is x


def test_unknown_activation_lists_what_there_is():
    with pytest.raises(ValueError, match="activation 'swish' is none of linear, relu"):
        StreamBlock(3, 4, "swish", "avg", rng=rng())


BLOCKS = [(a, p) for a in ("relu", "tanh") for p in ("avg", "max", "none")]


class TestStreamBlock:
    @pytest.mark.parametrize(("activation", "pool"), BLOCKS)
    def test_fused_and_composed_agree(self, activation, pool):
        results = []
        for fused in (True, False):
            block = StreamBlock(3, 4, activation, pool, rng=rng(1), momentum=0.9, fused=fused)
            block.astype("float64")
            block.norm.gamma.data[...] = normal(4, seed=2)
            block.norm.beta.data[...] = normal(4, seed=3)
            x = Tensor(normal(3, 9, 8, 3, seed=4), requires_grad=True)
            y = block(x)
            y.backward(normal(*y.shape, seed=5))
            grads = {name: p.grad for name, p in block.named_parameters()}
            results.append([y.data, x.grad, block.state_dict(), grads])
        (y, gx, state, grads), (other_y, other_gx, other_state, other_grads) = results
        assert np.allclose(y, other_y, rtol=1e-12, atol=1e-12)
        assert np.allclose(gx, other_gx, rtol=1e-10, atol=1e-12)
        for name, array in state.items():
            assert np.allclose(array, other_state[name], rtol=1e-12), name
        for name, grad in grads.items():
            assert np.allclose(grad, other_grads[name], rtol=1e-10, atol=1e-11), name

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize(
        "settings",
        [{"padding": "same"}, {"stride": 2}, {"stride": (1, 2)}, {"groups": 3}, {"bias": False}],
        ids=str,
    )
    def test_a_convolution_of_other_settings_is_not_fused(self, settings, training):
        block = StreamBlock(3, 6, "relu", "none", rng=rng(1)).train(training)
        block.conv = Conv2d(3, 6, 3, rng=rng(2), **settings)
        x = normal(2, 7, 7, 3, seed=3).astype(np.float32)
        with no_grad():
            y = block(Tensor(x)).data
            with composed():
                assert np.array_equal(y, block(Tensor(x)).data)

    @pytest.mark.parametrize("training", [True, False])
    def test_pixels_and_their_floats_give_the_same(self, training):
        pixels = rng().integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
        results = [
            StreamBlock(3, 4, "relu", "avg", rng=rng()).train(training)(Tensor(x)).data
            for x in (pixels, pixels.astype(np.float32))
        ]
        assert np.array_equal(*results)

    def test_evaluation_is_the_four_ops_on_the_moving_statistics(self):
        block = StreamBlock(3, 4, "tanh", "max", rng=rng()).astype("float64").eval()
        block.norm.moving_mean[...] = normal(4)
        x = Tensor(normal(1, 9, 9, 3))
        conv = ops.conv2d(x, block.conv.w, block.conv.b)
        norm = block.norm
        scaled = (conv.data - norm.moving_mean) / math.sqrt(1 + 1e-3)
        expected = np.tanh(scaled)[:, :6, :6].reshape(1, 3, 2, 3, 2, 4).max(axis=(2, 4))
        assert np.allclose(block(x).data, expected)

    def test_composed_is_taken_when_asked(self):
        block = StreamBlock(3, 4, "relu", "avg", rng=rng())
        x = Tensor(normal(2, 8, 8, 3, dtype=np.float32))
        assert block(x).creator.function.__name__ == "Block"
        with composed():
            assert block(x).creator.function.__name__ == "AvgPool"

    def test_an_activation_the_op_does_not_know_is_composed(self):
        block = StreamBlock(3, 4, "softplus", "avg", rng=rng())
        assert block(Tensor(normal(2, 8, 8, 3, dtype=np.float32))).shape == (2, 3, 3, 4)
