"""What is done to a face between the picture and the network.

The record is stored in every data set and every checkpoint, and train, evaluate, predict, export
and serve read it from there. It exists because of a real mistake: the authors' demo fed RGB to a
network trained on BGR, and the ages it showed were off by 8 to 25 years.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.errors import DataError

COLORS = ("rgb", "bgr")

# Usual ranges of pixels: name -> (scale, offset).
PIXELS = {"raw": (1.0, 0.0), "unit": (1 / 255, 0.0), "centered": (1 / 127.5, -1.0)}


@dataclass(frozen=True)
class Preprocessing:
    """How the network wants its faces.

    Everything inside minissr, and `images.npy`, is uint8 RGB; this record says what happens to
    it next: `value = uint8 * scale + offset`, in the order of channels `color`.

    Attributes
    ----------
    color : "rgb" or "bgr", the order of channels the network eats.
    size : side of the square face in pixels.
    scale, offset : network value of a pixel = uint8 * scale + offset. 1 and 0 are raw 0..255.
    margin : share of the face box added on each side before cropping; None where the faces came
        cropped and nobody knows.
    alignment : how faces were turned before cropping; "none", or a method's name.
    """

    color: str = "rgb"
    size: int = 64
    scale: float = 1.0
    offset: float = 0.0
    margin: float | None = None
    alignment: str = "none"

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise DataError(f"preprocessing: color {self.color!r} is none of {', '.join(COLORS)}")
        if not (type(self.size) is int and self.size > 0):
            raise DataError(f"preprocessing: size {self.size!r}; expected a whole number above 0")
        numbers = {"scale": self.scale, "offset": self.offset, "margin": self.margin}
        for name, value in numbers.items():
            if name == "margin" and value is None:
                continue
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not math.isfinite(value)
            ):
                raise DataError(f"preprocessing: {name} {value!r}; expected a finite number")
        if not isinstance(self.alignment, str):
            raise DataError(f"preprocessing: alignment {self.alignment!r}; expected a name")

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON object (a dict of plain values)."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | str) -> Preprocessing:
        """The record that `to_json` gave, as a dict or as JSON text. Raises DataError."""
        if isinstance(record, str):
            try:
                record = json.loads(record)
            except ValueError as error:
                raise DataError(f"preprocessing: is no JSON ({error})") from error
        if not isinstance(record, Mapping):
            raise DataError(f"preprocessing: {record!r}; expected an object with names and values")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(record) - known):
            raise DataError(
                f"preprocessing: unknown {', '.join(unknown)}; this version knows "
                f"{', '.join(sorted(known))}"
            )
        return cls(**record)

    def fed(self, pixels: str) -> Preprocessing:
        """The same with a range of `PIXELS`; "raw" leaves what the record says."""
        if pixels == "raw":
            return self
        scale, offset = PIXELS[pixels]
        return dataclasses.replace(self, scale=scale, offset=offset)

    def arrange(self, images: np.ndarray) -> np.ndarray:
        """Faces in the network's order of channels.

        Parameters
        ----------
        images : ndarray (..., 3), uint8, RGB.

        Returns
        -------
        ndarray of the same shape, C-contiguous; `images` itself if there is nothing to do.
        """
        if self.color == "bgr":
            images = images[..., ::-1]
        return np.ascontiguousarray(images)
