"""One side of a fusion block for the Numba backend: fused where `numba_simd` can."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.fusion import composed, numba_simd


@register("fusion_forward", "numba")
def fusion_forward(x, w, bias, pool, size):
    """See `composed.forward`."""
    if numba_simd.fits(x, size):
        return numba_simd.forward(x, w, bias, pool, size)
    return composed.forward("numba", x, w, bias, pool, size)


@register("fusion_backward", "numba")
def fusion_backward(gy, x, w, pool, size, saved):
    """See `composed.backward`."""
    if numba_simd.fits(x, size):
        return numba_simd.backward(gy, x, w, pool, size, saved)
    return composed.backward("numba", gy, x, w, pool, size, saved)
