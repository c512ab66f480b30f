"""Decoding pictures: any file in, uint8 RGB out, or one sentence about what is wrong with it.

OpenCV decodes. What it is given has been looked at first (`headers`): the format is one we know,
the size is below `MAX_PIXELS`, the file reaches its end. Greyscale becomes three equal channels,
16 bits become 8, CMYK becomes RGB, the orientation in EXIF is applied, and what is transparent
is shown on white, as viewers do. (A picture with alpha is taken as stored: OpenCV hands out alpha
only without applying the orientation.)
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from minissr.data.headers import FORMATS, Header, read_header
from minissr.errors import DataError, MinissrError

MAX_PIXELS = 1 << 27  # 134 megapixels: more than any camera's face, 0.4 GB decoded
MAX_FILE_BYTES = 1 << 28  # 256 MiB
MIN_SIDE = 16  # pixels: an age can't be read off less


class PictureError(DataError):
    """A picture that can't be used: `kind` in a word or two, and the sentence naming the file."""

    def __init__(self, name: str, kind: str, sentence: str) -> None:
        super().__init__(f"{name}: {sentence}")
        self.name, self.kind, self.sentence = name, kind, sentence

    def __reduce__(self) -> tuple[Any, ...]:
        return PictureError, (self.name, self.kind, self.sentence)


@lru_cache(maxsize=1)
def opencv() -> Any:
    """The `cv2` module, told before its first import how large a picture may be.

    Raises MinissrError, with the install command, where it is missing.
    """
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # our sentence says it
    try:
        import cv2
    except ImportError as error:
        raise MinissrError(
            f"pictures need OpenCV, which can't be imported ({error}): pip install opencv-python"
        ) from error
    return cv2


def decode(data: bytes, name: str = "picture", *, min_side: int = MIN_SIDE) -> np.ndarray:
    """Decode a picture file.

    Parameters
    ----------
    data : the bytes of the file.
    name : what the error calls it.
    min_side : pixels; a picture with a shorter side is refused.

    Returns
    -------
    ndarray (H, W, 3), uint8, RGB, C-contiguous.

    Raises
    ------
    PictureError
    """
    if not data:
        raise PictureError(name, "empty", "is an empty file; copy it again")
    if len(data) > MAX_FILE_BYTES:
        raise PictureError(name, "too large", "is over 256 MiB; shrink the picture first")
    header = read_header(data)
    if header is None or not (header.width and header.height):
        raise PictureError(name, "unreadable", f"is no picture in {FORMATS}; convert it to JPEG")
    width, height = header.width, header.height
    if width * height > MAX_PIXELS:
        raise PictureError(
            name,
            "too large",
            f"has {width}x{height} = {width * height / 1e6:.0f} megapixels, more than "
            f"{MAX_PIXELS / 1e6:.0f}; shrink the picture first",
        )
    if min(width, height) < min_side:
        raise PictureError(
            name,
            "too small",
            f"is {width}x{height} pixels; use pictures of at least {min_side}x{min_side}",
        )
    if not header.complete:
        raise PictureError(
            name, "truncated", f"is a {header.format} whose end is missing; copy the file again"
        )
    if header.grey_alpha:
        raise PictureError(
            name,
            "unreadable",
            "is a grey TIFF with transparency, which OpenCV can't show; convert it to PNG",
        )
    image = _decode(data, header)
    if image is None or image.dtype != np.uint8:
        raise PictureError(
            name, "unreadable", f"is a damaged {header.format}; replace it or convert it to JPEG"
        )
    return image


def _decode(data: bytes, header: Header) -> np.ndarray | None:
    cv2 = opencv()
    buffer = np.frombuffer(data, np.uint8)
    try:
        if header.alpha:
            image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if image is not None and image.ndim == 3 and image.shape[2] == 4:
                if image.dtype.kind != "u":  # a TIFF may hold floats, of no known range
                    return None
                return _on_white(image, multiplied=header.multiplied)
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
        return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error:
        return None


def _on_white(bgra: np.ndarray, *, multiplied: bool) -> np.ndarray:
    """Show a picture with alpha on white: colour * a + white * (1 - a), to 8 bits, RGB.

    `multiplied` says that the colours are multiplied by a already.
    """
    top = np.iinfo(bgra.dtype).max
    a = bgra[:, :, 3:].astype(np.float32) / top  # (H, W, 1)
    rgb = bgra[:, :, 2::-1].astype(np.float32) * (255.0 / top)  # (H, W, 3)
    shown = (rgb if multiplied else rgb * a) + 255.0 * (1.0 - a)
    return np.rint(np.minimum(shown, 255.0)).astype(np.uint8)  # a file's product may exceed a


def read_picture(path: str | Path, *, min_side: int = MIN_SIDE) -> np.ndarray:
    """Decode the picture at `path`: uint8 (H, W, 3) RGB. Raises PictureError."""
    try:
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise PictureError(str(path), "too large", "is over 256 MiB; shrink the picture first")
        data = Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(
            str(path), "unreadable", f"can't be read ({reason}); check the path"
        ) from error
    return decode(data, str(path), min_side=min_side)


def shrink(image: np.ndarray, size: int = 64) -> np.ndarray:
    """Resize a picture to size x size, whatever its aspect, averaging over area.

    Each output pixel is the mean of what it covers (OpenCV's INTER_AREA), so nothing aliases. The
    released code's bilinear resize looks at 4 of the 10 pixels that a 200-pixel face has for each.

    Parameters
    ----------
    image : ndarray (H, W, 3), uint8.

    Returns
    -------
    ndarray (size, size, 3), uint8.
    """
    cv2 = opencv()
    enlarging = min(image.shape[:2]) < size
    interpolation = cv2.INTER_LINEAR if enlarging else cv2.INTER_AREA
    return cv2.resize(image, (size, size), interpolation=interpolation)
