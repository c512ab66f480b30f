"""The stream block of the Numba backend: fused where `numba_simd` can, composed elsewhere."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.block import composed, numba_simd


@register("block_forward", "numba")
def block_forward(x, w, bias, gamma, beta, eps, activation, pool):
    """See `composed.forward`."""
    arguments = (x, w, bias, gamma, beta, eps, activation, pool)
    if numba_simd.fits(x, w):
        return numba_simd.forward(*arguments)
    return composed.forward("numba", *arguments)


@register("block_backward", "numba")
def block_backward(
    gy, x, w, gamma, beta, eps, activation, pool, mean, var, saved, need_gx, onto=None
):
    """See `composed.backward`."""
    arguments = (gy, x, w, gamma, beta, eps, activation, pool, mean, var, saved, need_gx, onto)
    if numba_simd.fits(x, w):
        return numba_simd.backward(*arguments)
    return composed.backward("numba", *arguments)


@register("block_eval_forward", "numba")
def block_eval_forward(x, w, bias, gamma, beta, mean, var, eps, activation, pool):
    """See `composed.eval_forward`; `kernels.inference` has what is fused."""
    arguments = (x, w, bias, gamma, beta, mean, var, eps, activation, pool)
    return composed.eval_forward("numba", *arguments)
