"""The fused ops against the same network composed of single ops, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from minissr import ops
from minissr.autograd.gradcheck import gradcheck
from minissr.autograd.tensor import Tensor
from minissr.kernels.backend import use_backend
from minissr.models.ssrnet import SSRNet
from minissr.nn.module import composed


def tensors(*shapes: tuple[int, ...], dtype: type = np.float64) -> list[Tensor]:
    rng = np.random.default_rng(len(shapes))
    return [Tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in shapes]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("pool", ["avg", "max", "none"])
def test_block_gradient(activation: str, pool: str, backend: str) -> None:
    def block(x, w, gamma, beta):
        bias = Tensor(np.full(3, 0.5))
        return ops.stream_block(x, w, bias, gamma, beta, activation=activation, pool=pool)[0]

    with use_backend(backend):
        gradcheck(block, tensors((2, 7, 6, 2), (3, 3, 2, 3), (3,), (3,)))


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_fusion_gradient(pool: str, backend: str) -> None:
    with use_backend(backend):
        gradcheck(
            lambda x, w, b: ops.fusion(x, w, b, pool=pool, size=2),
            tensors((2, 5, 4, 3), (1, 1, 3, 2), (2,)),
        )


def test_stem_gradient(backend: str) -> None:
    images = Tensor(np.random.default_rng(0).integers(0, 256, (2, 7, 8, 3), np.uint8))

    def both(wx, gx, bx, ws, gs, bs):
        zero = Tensor(np.zeros(2))
        relu, tanh = (wx, zero, gx, bx), (ws, zero, gs, bs)
        (x, s), *_ = ops.stem(images, relu, tanh, unit=1 / 255, offset=-0.5)
        return x + s

    window, channels = (3, 3, 3, 2), (2,)
    with use_backend(backend):
        gradcheck(both, tensors(window, channels, channels, window, channels, channels))


def gradients(model: SSRNet, images: np.ndarray) -> dict[str, np.ndarray]:
    model.train().zero_grad()
    ages = np.linspace(5, 80, len(images)).astype(model.dtype)
    loss, _ = model.loss(images, ages, np.random.default_rng(1))
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_the_fused_network_has_the_composed_networks_gradients() -> None:
    """All fused kernels at their real shapes, from pixels to the loss, in float32."""
    pytest.importorskip("numba", reason="needs Numba")
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (4, 8, 8, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    model = SSRNet()
    fused, statistics = gradients(model, images), dict(model.named_buffers())
    fused_statistics = {name: array.copy() for name, array in statistics.items()}
    other = SSRNet()
    with composed():
        expected = gradients(other.astype(np.float64), images)
    assert fused.keys() == expected.keys()
    for name, grad in expected.items():
        if name.endswith("conv.b"):  # nothing but rounding in the composed network
            assert not fused[name].any()
            continue
        assert np.abs(fused[name] - grad).max() <= 2e-3 * np.abs(grad).max(), name
    for name, array in other.named_buffers():
        np.testing.assert_allclose(fused_statistics[name], array, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"activation": "gelu"}, "activation 'gelu' is none of relu, tanh"),
        ({"pool": "median"}, "pool 'median' is none of avg, max, none"),
    ],
)
def test_block_refuses_unknown_settings(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ops.stream_block(*tensors((1, 6, 6, 2), (3, 3, 2, 3), (3,), (3,), (3,)), **settings)


def test_block_refuses_what_does_not_fit() -> None:
    w, c = (3, 3, 2, 3), (3,)
    with pytest.raises(ValueError, match="don't fit"):
        ops.stream_block(*tensors((1, 6, 6, 4), w, c, c, c))
    with pytest.raises(ValueError, match="too small"):
        ops.stream_block(*tensors((1, 3, 3, 2), w, c, c, c))
    with pytest.raises(ValueError, match="too small"):
        ops.stream_block(*tensors((0, 6, 6, 2), w, c, c, c))


def test_fusion_refuses_what_does_not_fit() -> None:
    x, w, b = (1, 4, 4, 3), (1, 1, 3, 2), (2,)
    with pytest.raises(ValueError, match="pool 'none' is none of avg, max"):
        ops.fusion(*tensors(x, w, b), pool="none", size=2)
    with pytest.raises(ValueError, match="don't fit"):
        ops.fusion(*tensors(x, (3, 3, 3, 2), b), pool="max", size=2)
    with pytest.raises(ValueError, match="pooling window 5; expected 1 to 4"):
        ops.fusion(*tensors(x, w, b), pool="max", size=5)
