"""The contact sheet: youngest first, every age written."""

from __future__ import annotations

import numpy as np

from minissr.data.contact import COLUMNS, ROWS, TEXT, TILE, contact_sheet
from minissr.data.images import decode


def grey_faces(ages):
    return np.stack([np.full((64, 64, 3), age, np.uint8) for age in ages])


def test_youngest_first_and_ages_below():
    ages = np.random.default_rng(0).permutation(np.arange(300) % 120)
    sheet = decode(contact_sheet(grey_faces(ages), ages))
    assert sheet.shape == (ROWS * (TILE + TEXT), COLUMNS * TILE, 3)
    cells = sheet.reshape(ROWS, TILE + TEXT, COLUMNS, TILE, 3)
    shown = cells[:, TILE // 2, :, TILE // 2, 0].ravel().astype(int)
    assert (np.diff(shown) >= 0).all()
    assert (shown[0], shown[-1]) == (0, 119)
    assert (cells[:, TILE:].min(axis=(1, 3, 4)) < 100).all()  # something is written below each


def test_a_few_faces():
    for n in (1, 5):
        sheet = decode(contact_sheet(grey_faces(range(n)), np.arange(n)))
        assert sheet.shape == (TILE + TEXT, n * TILE, 3)
