"""Pictures with their answers written below them, for people to look at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minissr.data.images import opencv, read_picture
from minissr.errors import DiskError, MinissrError

LONGEST = (160, 1024)  # pixels: a picture's longer side is brought between these
LINE = 40  # pixels of a line of text at OpenCV's scale 1
SHARE = 0.6  # of the picture's width that the text takes, unless its letters would get too large


class Album:
    """A folder that receives pictures: new or empty, so that nothing is ever overwritten.

    Raises
    ------
    MinissrError
        If something is in it.
    DiskError
        If it can't be made or read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = next(self.folder.iterdir(), None)
        except OSError as error:
            raise self._refused(error) from error
        if found is not None:
            raise MinissrError(
                f"{self.folder} is not empty (it holds {found.name}); name a new folder"
            )
        self._used: dict[str, int] = {}

    def add(self, file: str, text: str) -> Path:
        """Write the picture `file` with `text` below it; two files of one name get two pictures.

        Returns where it is. Raises DiskError if it can't be written.
        """
        path = self._free(Path(file).stem)
        _, png = opencv().imencode(".png", with_caption(read_picture(file), text)[..., ::-1])
        try:
            with open(path, "xb") as out:
                out.write(png.tobytes())
        except OSError as error:
            raise self._refused(error) from error
        return path

    def _free(self, name: str) -> Path:
        """Where the next picture called `name` goes; photo-2.jpg may have taken photo's second."""
        while True:
            self._used[name] = number = self._used.get(name, 0) + 1
            path = self.folder / (f"{name}-{number}.png" if number > 1 else f"{name}.png")
            if not os.path.lexists(path):
                return path

    def _refused(self, error: OSError) -> DiskError:
        reason = (error.strerror or str(error)).lower()
        return DiskError(
            f"{self.folder} can't be written: {reason}; make room or name another folder"
        )


def with_caption(picture: np.ndarray, text: str) -> np.ndarray:
    """A picture with a line of text below it.

    Parameters
    ----------
    picture : ndarray (H, W, 3), uint8, RGB; resized if it is small or large, see `LONGEST`.
    text : ASCII, which is what OpenCV has letters for.

    Returns
    -------
    ndarray (H', W', 3), uint8, RGB.
    """
    cv2 = opencv()
    longest = max(picture.shape[:2])
    factor = min(max(longest, LONGEST[0]), LONGEST[1]) / longest
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, (width, height), interpolation=how)
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = min(1.0, SHARE * width / cv2.getTextSize(text, font, 1.0, 1)[0][0])
    drawn, tall = cv2.getTextSize(text, font, scale, 1)[0]
    line = np.full((max(1, round(LINE * scale)), width, 3), 255, np.uint8)
    at = ((width - drawn) // 2, (len(line) + tall) // 2)
    cv2.putText(line, text, at, font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([picture, line])
