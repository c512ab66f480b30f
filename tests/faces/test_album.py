"""Copies with a caption: names that meet, and pictures of odd shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minissr.data.images import opencv, read_picture
from minissr.faces.album import Album, with_caption


def test_a_name_that_another_picture_took_is_counted_on(tmp_path: Path) -> None:
    files = ["photo-2.png", "photo.jpg", "photo.png", "below/photo.png", "photo-3.png"]
    (tmp_path / "below").mkdir()
    for shade, file in enumerate(files):
        image = np.full((20, 20, 3), 50 * shade, np.uint8)
        opencv().imwrite(str(tmp_path / file), image)
    album = Album(tmp_path / "out")
    paths = [album.add(str(tmp_path / file), "30.0 years") for file in files]
    names = ["photo-2.png", "photo.png", "photo-3.png", "photo-4.png", "photo-3-2.png"]
    assert [path.name for path in paths] == names
    for shade, path in enumerate(paths):
        assert (read_picture(path)[0, 0] == 50 * shade).all()


@pytest.mark.parametrize("shape", [(20_000, 16), (16, 20_000), (3000, 16)])
def test_a_picture_of_any_aspect_gets_a_caption(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    copy = with_caption(picture, "30.0 years")
    assert copy.shape[0] > round(shape[0] * 1024 / max(shape))
    assert (copy[-1, 0] == 255).all()
