"""Affine warp of images on the GPU: one thread a pixel (warp.cu)."""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register

Array = Any  # cupy.ndarray

WARP = cuda.Program(__file__, "warp.cu")
THREADS = 256


@register("warp_affine", "cupy")
def warp_affine(images: Array, matrices: Array, interpolation: str) -> Array:
    """Resample each uint8 image (N, H, W, C) by its matrix (N, 2, 3); see `numpy_ref`."""
    n, height, width, c = images.shape
    warped = cuda.xp().empty(images.shape, "uint8")
    pixels = n * height * width
    arguments = (images, matrices, warped, pixels, height, width, c, interpolation == "bilinear")
    WARP.launch("warp_affine", "float32", cuda.blocks(pixels, THREADS), THREADS, *arguments)
    return warped
