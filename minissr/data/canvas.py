"""What synthetic faces are painted with: smooth outlines, layers of colour, a sheet of faces.

Every shape is an implicit curve: an array that holds, for each pixel, the signed distance to the
outline in image units (the image is 2 wide and 2 high), positive inside. `cover` turns it into the
share of the pixel that lies inside, so edges are smooth without drawing at a higher resolution.

Faces are painted a block at a time, in arrays (B, 64, 64) small enough to stay in the cache.
Nothing here knows what a face is made of; `minissr.data.render` does.
"""

from __future__ import annotations

import copy

import numpy as np

Array = np.ndarray

SIZE = 64
PIXEL = 2.0 / SIZE  # width of a pixel in image units

_AXIS = ((np.arange(SIZE) + 0.5) * PIXEL - 1.0).astype(np.float32)  # centres of the pixels
X = _AXIS[None, None, :]  # (1, 1, 64)
Y = _AXIS[None, :, None]  # (1, 64, 1)


def cover(distance: Array) -> Array:
    """The share of each pixel that lies inside an outline, 0 to 1.

    Parameters
    ----------
    distance : ndarray (B, H, W), signed distance to the outline in image units, positive inside
    """
    share = distance * np.float32(1.0 / PIXEL)
    share += np.float32(0.5)
    return np.clip(share, 0.0, 1.0, out=share)


def bump(z: Array) -> Array:
    """A soft bell that is 1 at 0 and exactly 0 beyond |z| = 1: (1 - z^2)^2."""
    bell = np.square(z)
    np.subtract(1.0, bell, out=bell)
    np.maximum(bell, 0.0, out=bell)
    return np.square(bell, out=bell)


def paint(canvas: Array, share: Array, colour: Array | tuple[float, float, float]) -> None:
    """Lay a colour over the canvas, in place.

    Parameters
    ----------
    canvas : ndarray (3, B, H, W), RGB planes, 0 black to 1 white
    share : ndarray (B, H, W), opacity, 0 to 1
    colour : three numbers, or ndarray (3, B, 1, 1) or (3, B, H, W)
    """
    for plane, c in zip(canvas, colour, strict=True):
        change = c - plane
        change *= share
        plane += change


def shade(canvas: Array, factor: Array) -> None:
    """Multiply the three planes by one factor (B, H, W), in place."""
    for plane in canvas:
        plane *= factor


class Sheet:
    """A block of B faces being painted, with the coordinates to paint them in.

    The head's frame turns, moves and grows with the head: p runs across it and q down it, and
    p^2 + q^2 = 1 is the outline of an egg that fills it. Features have a frame of their own,
    `face_p`, which slides sideways when the head turns left or right. They are symmetric, so one
    evaluation at `side` = |face_p| draws both eyes.

    Parameters
    ----------
    latents : dict of ndarray (B,), or (B, 3) for colours
    half_width, half_height : ndarray (B,), of the heads, in image units
    strands : ndarray (B, 64, 64), texture of hair and skin, uniform on 0..1
    """

    def __init__(
        self, latents: dict[str, Array], half_width: Array, half_height: Array, strands: Array
    ):
        self.latents = latents
        self.half_width = _column(half_width)
        self.half_height = _column(half_height)
        self.canvas = np.empty((3, *strands.shape), np.float32)
        self.strands = strands

        cos, sin = np.cos(self["tilt"]), np.sin(self["tilt"])
        x, y = X - self["shift_x"], Y - self["shift_y"]
        self.p = (cos * x + sin * y) / self.half_width
        self.q = (cos * y - sin * x) / self.half_height
        self.face_p = self.p - self["turn"] * bump(self.p * 0.7)
        self.side = np.abs(self.face_p)

    def __getitem__(self, name: str) -> Array:
        """A latent as (B, 1, 1), or as (3, B, 1, 1) if it is a colour."""
        return _column(self.latents[name])

    def oval(self, p: Array, q: Array, a: Array | float, b: Array | float) -> Array:
        """Approximate signed distance to an ellipse, in image units.

        Parameters
        ----------
        p, q : ndarray (B, H, W), offsets from its centre in the head's frame
        a, b : half-axes across and down in the head's frame, numbers or ndarray (B, 1, 1)
        """
        radius = np.square(p * (1.0 / a))
        radius += np.square(q * (1.0 / b))
        np.sqrt(radius, out=radius)
        np.subtract(1.0, radius, out=radius)
        radius *= np.minimum(a * self.half_width, b * self.half_height)
        return radius

    def rows(self, top: Array | float, bottom: Array | float) -> Sheet:
        """The rows of the sheet that hold the heads' heights q from top to bottom, as views.

        A small feature costs only its own rows. The rows are the same for the whole block.
        """
        cos, sin = np.cos(self["tilt"]), np.sin(self["tilt"])
        swing = 1.2 * np.abs(sin) * self.half_width  # ears included
        highest = np.min(self["shift_y"] + cos * top * self.half_height - swing)
        lowest = np.max(self["shift_y"] + cos * bottom * self.half_height + swing)
        first = int(np.clip((highest + 1.0) / PIXEL, 0, SIZE - 1))
        last = int(np.clip((lowest + 1.0) / PIXEL + 1.0, first + 1, SIZE))
        part = copy.copy(self)
        part.canvas = self.canvas[:, :, first:last]
        for name in ("strands", "p", "q", "face_p", "side"):
            setattr(part, name, getattr(self, name)[:, first:last])
        return part


def _column(value: Array) -> Array:
    """(B,) -> (B, 1, 1); (B, 3) -> (3, B, 1, 1); float32."""
    return value.T[..., None, None].astype(np.float32)
