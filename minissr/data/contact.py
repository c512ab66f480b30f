"""The contact sheet: a glance at a data set before hours are spent on it."""

from __future__ import annotations

import numpy as np

from minissr.data.images import opencv

COLUMNS, ROWS = 16, 8
TILE, TEXT = 80, 18  # pixels: side of a face, height of the line below it


def contact_sheet(faces: np.ndarray, ages: np.ndarray) -> bytes:
    """A PNG with up to 128 faces, evenly spaced from the youngest to the oldest.

    Parameters
    ----------
    faces : ndarray (N, S, S, 3), uint8 RGB.
    ages : ndarray (N,), years, written below each face.
    """
    cv2 = opencv()
    n = len(ages)
    by_age = np.argsort(ages, kind="stable")
    chosen = by_age[np.unique(np.linspace(0, n - 1, min(n, COLUMNS * ROWS)).round().astype(int))]
    lines = -(-len(chosen) // COLUMNS)
    width = min(len(chosen), COLUMNS)
    sheet = np.full((lines * (TILE + TEXT), width * TILE, 3), 255, np.uint8)
    for place, i in enumerate(chosen.tolist()):
        top, left = place // COLUMNS * (TILE + TEXT), place % COLUMNS * TILE
        face = cv2.resize(faces[i], (TILE, TILE), interpolation=cv2.INTER_CUBIC)
        sheet[top : top + TILE, left : left + TILE] = face
        text = f"{ages[i]:g}"
        (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        at = (left + (TILE - text_width) // 2, top + TILE + TEXT - 5)
        cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    _, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return png.tobytes()
