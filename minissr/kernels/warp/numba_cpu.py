"""Affine warp of images on one core.

The same whole-number arithmetic as `numpy_ref`, so the same bytes. Serial and without the
interpreter lock on purpose: it runs in the loader's thread while the network trains, and two
threads must not both enter Numba's parallel loops.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.jit import njit
from minissr.kernels.warp.numpy_ref import POSITION_BITS, WEIGHT_BITS

HALF = 1 << (POSITION_BITS - 1)
COARSER = POSITION_BITS - WEIGHT_BITS
COARSER_HALF = 1 << (COARSER - 1)
ONE = 1 << WEIGHT_BITS
MEAN_HALF = ONE * ONE >> 1


@register("warp_affine", "numba")
def warp_affine(images: np.ndarray, matrices: np.ndarray, interpolation: str) -> np.ndarray:
    """Resample each image once; see `numpy_ref.warp_affine`."""
    A = np.rint(matrices * 2.0**POSITION_BITS).astype(np.int64)
    return (_nearest if interpolation == "nearest" else _bilinear)(images, A)


@njit
def _nearest(images, A):
    N, H, W, C = images.shape
    y = np.empty_like(images)
    for n in range(N):
        for r in range(H):
            row = A[n, 0, 0] * r + A[n, 0, 2] + HALF
            column = A[n, 1, 0] * r + A[n, 1, 2] + HALF
            for c in range(W):
                i = min(max(row >> POSITION_BITS, 0), H - 1)
                j = min(max(column >> POSITION_BITS, 0), W - 1)
                for k in range(C):
                    y[n, r, c, k] = images[n, i, j, k]
                row += A[n, 0, 1]
                column += A[n, 1, 1]
    return y


@njit
def _bilinear(images, A):
    N, H, W, C = images.shape
    y = np.empty_like(images)
    for n in range(N):
        for r in range(H):
            row = A[n, 0, 0] * r + A[n, 0, 2] + COARSER_HALF
            column = A[n, 1, 0] * r + A[n, 1, 2] + COARSER_HALF
            for c in range(W):
                above, left = row >> POSITION_BITS, column >> POSITION_BITS
                f = np.int32((row >> COARSER) & (ONE - 1))
                g = np.int32((column >> COARSER) & (ONE - 1))
                i0, i1 = min(max(above, 0), H - 1), min(max(above + 1, 0), H - 1)
                j0, j1 = min(max(left, 0), W - 1), min(max(left + 1, 0), W - 1)
                for k in range(C):
                    top = images[n, i0, j0, k] * (ONE - g) + images[n, i0, j1, k] * g
                    bottom = images[n, i1, j0, k] * (ONE - g) + images[n, i1, j1, k] * g
                    mean = top * (ONE - f) + bottom * f
                    y[n, r, c, k] = np.uint8((mean + MEAN_HALF) >> (2 * WEIGHT_BITS))
                row += A[n, 0, 1]
                column += A[n, 1, 1]
    return y
