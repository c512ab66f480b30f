"""The head for the Numba backend: fused where `numba_simd` can, else composed."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.head import composed, numba_simd


@register("head_forward", "numba")
def head_forward(maps, parameters, masks, pools, activations):
    """See `composed.forward`."""
    if numba_simd.fits(maps, pools):
        return numba_simd.forward(maps, parameters, masks, pools, activations)
    return composed.forward("numba", maps, parameters, masks, pools, activations)


@register("head_backward", "numba")
def head_backward(g_p, g_eta, g_delta, maps, parameters, masks, pools, activations, saved):
    """See `composed.backward`."""
    grads = (g_p, g_eta, g_delta)
    if numba_simd.fits(maps, pools):
        return numba_simd.backward(*grads, maps, parameters, activations, saved)
    arguments = (maps, parameters, masks, pools, activations, saved)
    return composed.backward("numba", *grads, *arguments)
