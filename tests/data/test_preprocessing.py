"""The record of what a network eats."""

from __future__ import annotations

import json

import numpy as np
import pytest

from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError


def test_survives_json():
    record = Preprocessing("bgr", 64, 1 / 255, -0.5, 0.4, "eyes")
    assert Preprocessing.from_json(record.to_json()) == record
    assert Preprocessing.from_json(json.dumps(record.to_json())) == record
    assert Preprocessing.from_json({}) == Preprocessing()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"color": "rbg"}, "rbg"),
        ({"size": 0}, "size 0"),
        ({"size": 64.0}, "size 64.0"),
        ({"scale": float("nan")}, "scale nan"),
        ({"scale": None}, "scale None"),
        ({"offset": "1"}, "offset '1'"),
        ({"margin": True}, "margin True"),
        ({"alignment": 3}, "alignment 3"),
        ({"colour": "rgb"}, "unknown colour"),
        ("{", "no JSON"),
        ([1], "expected an object"),
    ],
)
def test_refuses(record, said):
    with pytest.raises(DataError, match=said):
        Preprocessing.from_json(record)


def test_arrange():
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    assert Preprocessing().arrange(images) is images
    turned = Preprocessing("bgr").arrange(images)
    np.testing.assert_array_equal(turned, images[..., [2, 1, 0]])
    assert turned.flags.c_contiguous
