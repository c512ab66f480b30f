"""Augmentation: faces slightly moved, turned, sheared, scaled and mirrored, seeded per image.

The paper's text has "zooming, shifting, shearing and flipping"; the released code
(`TYY_generators.augment_data`) rotates as well. Ours draws what the released code draws:

    flip       probability 1/2
    rotation   probability 1/4, angle U(-20, 20) degrees
    shear      probability 1/4, angle U(-0.2, 0.2) radians
    shift      probability 1/4, U(-0.2, 0.2) of the side, rows and columns apart
    zoom       probability 1/4, U(0.8, 1.2), rows and columns apart (above 1 the face shrinks)

rotation, shear and zoom about (S/2 + 0.5, S/2 + 0.5), which is 32.5 and one pixel off the middle,
as in Keras at the time.

Deviations: the released code resamples up to five times, each time taking the nearest pixel and
replicating the edge of what the step before had left. Ours multiplies the five matrices and
resamples once, bilinearly (`paper`) or by nearest pixel (`paper-nearest`). What a shift pushes out
of the frame and a zoom brings back in is then still there. `half` goes half as far in everything,
as often, and `flip` only mirrors: for faces that are aligned better than theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minissr.data import appearance
from minissr.data.appearance import spread
from minissr.data.philox import uniform
from minissr.kernels import lookup
from minissr.kernels.backend import cpu_backend

ROTATION = 20.0  # degrees
SHEAR = 0.2  # radians
SHIFT = 0.2  # of the side
ZOOM = 0.2  # from 1, either way
FLIP_SHARE, OTHER_SHARE = 0.5, 0.25

# Each use draws from blocks of its own, so that adding one changes nothing about the others.
WARPS = {  # interpolation, and how far things go, as a share of the ranges above
    "paper": ("bilinear", 1.0),
    "paper-nearest": ("nearest", 1.0),
    "half": ("bilinear", 0.5),
    "flip": ("bilinear", 0.0),
}
WARP_BLOCKS = range(3)
EXTRAS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], range]] = {
    "light": (appearance.light, range(3, 4)),
    "color": (appearance.color, range(4, 5)),
    "blur": (appearance.blur, range(5, 6)),
    "erase": (appearance.erase, range(6, 8)),
}
CHOICES = ("none", *WARPS, *EXTRAS)


@dataclass(frozen=True)
class Augment:
    """What is done to training faces: names of `WARPS` and `EXTRAS`, in the order of `CHOICES`."""

    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What `parse_augment` makes this from."""
        return "+".join(self.parts) or "none"

    def __call__(self, images: np.ndarray, seed: int, epoch: int, index: np.ndarray) -> np.ndarray:
        """Augment faces.

        Parameters
        ----------
        images : ndarray (N, S, S, 3), uint8, never modified.
        seed, epoch : whole numbers, not negative.
        index : ndarray (N,), int: which faces of the data set these are.

        Returns
        -------
        ndarray (N, S, S, 3), uint8; `images` itself if nothing is to be done. Row n depends on
        (seed, epoch, index[n]) and images[n] only.
        """
        for part in self.parts:
            if part in WARPS:
                draws = uniform(seed, epoch, index, WARP_BLOCKS)
                images = warp(images, draws, *WARPS[part])
            else:
                change, blocks = EXTRAS[part]
                images = change(images, uniform(seed, epoch, index, blocks))
        return images


def parse_augment(spec: str) -> Augment:
    """`paper`, `none`, or several names with "+" between: `paper+light+blur`. ValueError else."""
    names = [name.strip() for name in spec.split("+")]
    for name in names:
        if name not in CHOICES:
            raise ValueError(
                f"augmentation {spec!r}: {name!r} is unknown; there are {', '.join(CHOICES)}, "
                'with "+" between several'
            )
    if len(set(names)) < len(names):
        raise ValueError(f"augmentation {spec!r} names one thing twice; name each once")
    if "none" in names and len(names) > 1:
        raise ValueError(f"augmentation {spec!r} has none beside others; leave none out")
    if len(names & WARPS.keys()) > 1:
        raise ValueError(f"augmentation {spec!r} warps twice; choose one of {', '.join(WARPS)}")
    return Augment(tuple(name for name in CHOICES if name in names and name != "none"))


def paper_matrices(
    draws: np.ndarray, size: int, reach: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The drawn movement of each image as one matrix.

    Each step says where an output pixel comes from, so the step that was done first stands first:
    F R H T Z for flip, rotation, shear, shift and zoom, each about its own centre.

    Parameters
    ----------
    draws : ndarray (N, 12), in [0, 1).
    size : side S of the image in pixels.
    reach : a share of the ranges; with 0 nothing is moved, only mirrored.

    Returns
    -------
    matrices : ndarray (N, 2, 3), float64, as `warp_affine` takes them.
    flipped, moved : ndarrays (N,), bool: mirrored; anything other than mirrored.
    """
    flip = draws[:, 0] < FLIP_SHARE
    gates = np.less(draws[:, [1, 3, 5, 8]], OTHER_SHARE if reach else 0.0)  # (N, 4)
    turn, slant, shift, zoom = gates.T
    rotation, slope, far, scale = (reach * r for r in (ROTATION, SHEAR, SHIFT, ZOOM))
    angle = np.where(turn, np.deg2rad(spread(draws[:, 2], -rotation, rotation)), 0.0)
    shear = np.where(slant, spread(draws[:, 4], -slope, slope), 0.0)
    shifts = np.where(shift[:, None], spread(draws[:, 6:8], -far, far) * size, 0.0)
    zooms = np.where(zoom[:, None], spread(draws[:, 9:11], 1 - scale, 1 + scale), 1.0)

    centre = size / 2 + 0.5
    total = _matrix(1.0, 0.0, 0.0, np.where(flip, -1.0, 1.0))
    total[:, 1, 2] = np.where(flip, size - 1.0, 0.0)  # column -> S - 1 - column
    cos, sin = np.cos(angle), np.sin(angle)
    total = total @ _about(centre, _matrix(cos, -sin, sin, cos))
    total = total @ _about(centre, _matrix(1.0, -np.sin(shear), 0.0, np.cos(shear)))
    moved_by = _matrix(np.ones(len(draws)), 0.0, 0.0, 1.0)
    moved_by[:, :2, 2] = shifts
    total = total @ moved_by
    total = total @ _about(centre, _matrix(zooms[:, 0], 0.0, 0.0, zooms[:, 1]))
    return total[:, :2], flip, np.any(gates, axis=1)


def warp(
    images: np.ndarray, draws: np.ndarray, interpolation: str, reach: float = 1.0
) -> np.ndarray:
    """Move each image as drawn; (N, S, S, 3) uint8. The third that isn't moved is copied."""
    matrices, flipped, moved = paper_matrices(draws, images.shape[1], reach)
    out = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    kernel = lookup("warp_affine", cpu_backend())
    moved = np.flatnonzero(moved)
    out[moved] = kernel(np.ascontiguousarray(images[moved]), matrices[moved], interpolation)
    return out


def _matrix(
    a: np.ndarray | float, b: np.ndarray | float, d: np.ndarray | float, e: np.ndarray | float
) -> np.ndarray:
    """(N, 3, 3) matrices (a b 0; d e 0; 0 0 1)."""
    n = max(np.size(value) for value in (a, b, d, e))
    out = np.zeros((n, 3, 3))
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1], out[:, 2, 2] = a, b, d, e, 1.0
    return out


def _about(centre: float, matrices: np.ndarray) -> np.ndarray:
    """The same linear maps with (centre, centre) as their fixed point."""
    out = matrices.copy()
    fixed = np.array([centre, centre])
    out[:, :2, 2] = fixed - matrices[:, :2, :2] @ fixed
    return out
