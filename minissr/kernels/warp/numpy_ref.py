"""Affine warp of images, as the equations say.

    y[n, r, c] = x[n, A_n (r, c, 1)]        A_n = (a b t; d e u), rows first, in pixels

so a matrix says where each OUTPUT pixel comes from. Outside the image the nearest edge pixel
stands. Positions are kept in units of 2^-24 pixel and the weights of the bilinear mean in 2^-8, all
in whole numbers: every backend and every machine gives the same bytes, and a shift by whole pixels
or a flip is exact.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register

POSITION_BITS = 24  # |matrix entries| below 2^26 and sides below 2^12 keep 64 bits from overflowing
WEIGHT_BITS = 8


@register("warp_affine", "numpy")
def warp_affine(images: np.ndarray, matrices: np.ndarray, interpolation: str) -> np.ndarray:
    """Resample each image once.

    Parameters
    ----------
    images : ndarray (N, H, W, C), uint8.
    matrices : ndarray (N, 2, 3), float64: input row and column of an output (row, column, 1).
    interpolation : "nearest" (a position half-way goes to the higher index) or "bilinear".

    Returns
    -------
    ndarray (N, H, W, C), uint8.
    """
    N, H, W, _ = images.shape
    A = np.rint(matrices * 2.0**POSITION_BITS).astype(np.int64)[:, :, :, None, None]
    r, c = np.arange(H)[:, None], np.arange(W)[None, :]
    row = A[:, 0, 0] * r + A[:, 0, 1] * c + A[:, 0, 2]  # (N, H, W), in 2^-24 pixel
    column = A[:, 1, 0] * r + A[:, 1, 1] * c + A[:, 1, 2]
    n = np.arange(N)[:, None, None]

    if interpolation == "nearest":
        half = 1 << (POSITION_BITS - 1)
        i = np.clip((row + half) >> POSITION_BITS, 0, H - 1)
        j = np.clip((column + half) >> POSITION_BITS, 0, W - 1)
        return images[n, i, j]

    coarser = POSITION_BITS - WEIGHT_BITS
    row = (row + (1 << (coarser - 1))) >> coarser  # in 2^-8 pixel, rounded
    column = (column + (1 << (coarser - 1))) >> coarser
    one = 1 << WEIGHT_BITS
    f, g = (row & (one - 1))[..., None], (column & (one - 1))[..., None]
    above, left = row >> WEIGHT_BITS, column >> WEIGHT_BITS
    i0, i1 = np.clip(above, 0, H - 1), np.clip(above + 1, 0, H - 1)
    j0, j1 = np.clip(left, 0, W - 1), np.clip(left + 1, 0, W - 1)
    top = images[n, i0, j0] * (one - g) + images[n, i0, j1] * g  # (N, H, W, C)
    bottom = images[n, i1, j0] * (one - g) + images[n, i1, j1] * g
    mean = top * (one - f) + bottom * f
    return ((mean + (one * one >> 1)) >> (2 * WEIGHT_BITS)).astype(np.uint8)
