"""The stem of the Numba backend: fused where `numba_simd` can, composed elsewhere."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.stem import composed, numba_simd


@register("stem_forward", "numba")
def stem_forward(images, unit, offset, eps, *parameters):
    """See `composed.forward`."""
    if numba_simd.fits(images, parameters[0], parameters[4]):
        return numba_simd.forward(images, unit, offset, eps, *parameters)
    return composed.forward("numba", images, unit, offset, eps, *parameters)


@register("stem_backward", "numba")
def stem_backward(g_relu, g_tanh, images, unit, offset, eps, saved):
    """See `composed.backward`."""
    if isinstance(saved, numba_simd.Saved):
        return numba_simd.backward(g_relu, g_tanh, images, unit, eps, saved)
    return composed.backward("numba", g_relu, g_tanh, images, unit, offset, eps, saved)
