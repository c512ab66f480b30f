"""Convolution: the definition as six loops, its algebra, TensorFlow's "same", and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from minissr import Tensor, ops, use_backend
from minissr.ops.geometry import as_padding, as_pair, same_padding
from tests.conftest import CPU_BACKENDS
from tests.ops.case import Case
from tests.ops.image_cases import convolutions


def resolved(case: Case) -> tuple:
    """Arrays, stride, padding as four numbers, groups."""
    x, w, b = case.inputs
    stride = as_pair("conv2d", "stride", case.settings["stride"])
    padding = as_padding("conv2d", case.settings["padding"], x.shape[1:3], w.shape[:2], stride)
    return x, w, b, stride, padding, case.settings["groups"]


def by_the_definition(x, w, b, stride, padding, groups) -> np.ndarray:
    """One output number at a time, from the formula in the op's docstring."""
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    kh, kw, c, co = w.shape
    oh = (padded.shape[1] - kh) // stride[0] + 1
    ow = (padded.shape[2] - kw) // stride[1] + 1
    y = np.zeros((len(x), oh, ow, co))
    for n, i, j, q in np.ndindex(y.shape):
        group = q // (co // groups)
        for u, v, k in np.ndindex(kh, kw, c):
            pixel = padded[n, i * stride[0] + u, j * stride[1] + v, group * c + k]
            y[n, i, j, q] += pixel * w[u, v, k, q]
    return y if b is None else y + b


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_definition(backend: str) -> None:
    @given(convolutions())
    def agrees(case: Case) -> None:
        with use_backend(backend):
            y = ops.conv2d(
                *[None if a is None else Tensor(a) for a in case.inputs], **case.settings
            )
        np.testing.assert_allclose(y.data, by_the_definition(*resolved(case)), atol=1e-12)

    agrees()


@given(convolutions())
def test_linear_in_images_and_in_weights(case: Case) -> None:
    x, w, _ = case.inputs
    rng = np.random.default_rng(0)

    def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return ops.conv2d(Tensor(x), Tensor(w), **case.settings).data

    with use_backend("numpy"):
        dx, dw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
        np.testing.assert_allclose(conv(x + 2 * dx, w), conv(x, w) + 2 * conv(dx, w), atol=1e-11)
        np.testing.assert_allclose(conv(x, w - 3 * dw), conv(x, w) - 3 * conv(x, dw), atol=1e-11)


@given(convolutions())
def test_backward_is_the_adjoint(case: Case) -> None:
    """<g, conv(x, w)> = <dx, x> = <dw, w>: y is linear in each."""
    x, w = (Tensor(a, requires_grad=True) for a in case.inputs[:2])
    with use_backend("numpy"):
        y = ops.conv2d(x, w, **case.settings)
        g = np.random.default_rng(0).standard_normal(y.shape)
        y.backward(g)
    product = (g * y.data).sum()
    np.testing.assert_allclose((x.grad * x.data).sum(), product, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose((w.grad * w.data).sum(), product, rtol=1e-10, atol=1e-10)


def test_one_by_one_is_a_dense_layer_at_every_pixel() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((1, 1, 5, 6))
    y = ops.conv2d(Tensor(x), Tensor(w))
    np.testing.assert_allclose(y.data, x @ w[0, 0], rtol=1e-12)


def test_depthwise_channels_do_not_meet() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 5, 5, 3)), rng.standard_normal((3, 3, 1, 3))
    y = ops.conv2d(Tensor(x), Tensor(w), groups=3).data
    for c in range(3):
        alone = ops.conv2d(Tensor(x[..., c : c + 1]), Tensor(w[..., c : c + 1])).data
        np.testing.assert_allclose(y[..., c : c + 1], alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("length", "size", "stride", "padding"),
    [
        (64, 3, 2, (0, 1)),  # the odd row goes to the bottom, as in TensorFlow
        (64, 3, 1, (1, 1)),
        (5, 2, 1, (0, 1)),
        (5, 4, 1, (1, 2)),
        (7, 3, 2, (1, 1)),
        (4, 1, 3, (0, 0)),
        (3, 5, 2, (2, 2)),
    ],
)
def test_same_padding_is_tensorflows(length: int, size: int, stride: int, padding) -> None:
    assert same_padding(length, size, stride) == padding
    y = ops.conv2d(
        Tensor(np.ones((1, length, length, 1))),
        Tensor(np.ones((size, size, 1, 1))),
        stride=stride,
        padding="same",
    )
    assert y.shape[1] == -(-length // stride)


def test_padding_in_every_spelling() -> None:
    image, size, stride = (5, 6), (3, 3), (1, 1)
    assert as_padding("op", "valid", image, size, stride) == (0, 0, 0, 0)
    assert as_padding("op", 2, image, size, stride) == (2, 2, 2, 2)
    assert as_padding("op", "same", image, (2, 3), stride) == (0, 1, 1, 1)
    assert as_padding("op", "same_lower", image, (2, 3), stride) == (1, 0, 1, 1)
    assert as_padding("op", (1, 2), image, size, stride) == (1, 1, 2, 2)
    assert as_padding("op", [1, 2, 3, 4], image, size, stride) == (1, 2, 3, 4)
    assert as_pair("op", "stride", np.int64(2)) == (2, 2)


def test_an_empty_batch() -> None:
    x = Tensor(np.ones((0, 4, 4, 2)), requires_grad=True)
    w = Tensor(np.ones((3, 3, 2, 5)), requires_grad=True)
    with use_backend("numpy"):
        y = ops.conv2d(x, w)
        y.sum().backward()
    assert y.shape == (0, 2, 2, 5)
    assert not w.grad.any()


def call(x=(1, 5, 5, 4), w=(3, 3, 4, 2), b=None, **settings):
    bias = None if b is None else Tensor(np.ones(b))
    return ops.conv2d(Tensor(np.ones(x)), Tensor(np.ones(w)), bias, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": (5, 5, 4)}, r"x \(5, 5, 4\) and w .*; expected \(N, H, W, C\)"),
        ({"w": (3, 3, 3, 2)}, r"read 3 channels .* has 4; expected 4 in the third place"),
        ({"groups": 3}, "groups 3; expected a divisor of the 4 input and 2 output channels"),
        ({"groups": 0}, "groups 0; expected a divisor"),
        ({"groups": 2}, "read 4 channels in each of 2 groups"),
        ({"b": 3}, r"bias of shape \(3,\); expected \(2,\)"),
        ({"stride": 0}, "stride 0; expected an integer >= 1 or a pair"),
        ({"stride": (1, 2, 3)}, r"stride \(1, 2, 3\); expected"),
        ({"stride": 1.5}, r"stride 1.5; expected"),
        ({"padding": "full"}, "padding 'full'; expected 'valid', 'same'"),
        ({"padding": -1}, "padding -1; expected"),
        ({"padding": (1, 2, 3)}, r"padding \(1, 2, 3\); expected"),
        ({"w": (7, 3, 4, 2)}, r"window \(7, 3\) is larger than the image \(5, 5\)"),
    ],
)
def test_refused_in_one_sentence(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(**arguments)


def test_pixels_have_to_be_cast() -> None:
    with pytest.raises(TypeError, match=r"Conv2d works on floats, got uint8; use .astype"):
        ops.conv2d(Tensor(np.ones((1, 5, 5, 3), np.uint8)), Tensor(np.ones((3, 3, 3, 1))))
