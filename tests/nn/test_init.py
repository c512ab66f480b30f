"""Initial weights: the ranges and variances of Keras's formulas."""

import math

import numpy as np
import pytest

from minissr.nn.init import fans, glorot_uniform, he_normal
from minissr.nn.layers import DepthwiseConv2d


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((160, 3), (160, 3)), ((3, 3, 16, 32), (144, 288)), ((1, 5, 2, 4), (10, 20))],
)
def test_fans(shape, expected):
    assert fans(shape) == expected


@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 64, 96)])
def test_glorot_uniform_fills_its_range(shape):
    w = glorot_uniform(shape, np.random.default_rng(0))
    limit = math.sqrt(6 / sum(fans(shape)))
    assert w.dtype == np.float32
    assert abs(w).max() <= limit * (1 + 1e-6)
    assert abs(w).max() > 0.999 * limit
    assert w.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert abs(w.mean()) < 0.02 * limit


@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 64, 96)])
def test_he_normal_has_its_variance_and_is_cut_off(shape):
    w = he_normal(shape, np.random.default_rng(0))
    assert w.std() == pytest.approx(math.sqrt(2 / fans(shape)[0]), rel=0.02)
    cut = 2 * math.sqrt(2 / fans(shape)[0]) / 0.87962566
    assert abs(w).max() <= cut * (1 + 1e-6)
    assert abs(w).max() > 0.97 * cut


def test_depthwise_takes_keras_fans():
    """Keras holds (KH, KW, C, 1), so its fans are 9 C and 9: a wider layer starts smaller."""
    w = DepthwiseConv2d(400, 3, rng=np.random.default_rng(0)).w.data
    assert w.shape == (3, 3, 1, 400)
    assert w.flags.c_contiguous
    limit = math.sqrt(6 / (9 * 400 + 9))
    assert 0.99 * limit < abs(w).max() <= limit * (1 + 1e-6)
