"""One side of a fusion block, composed: 1x1 convolution, ReLU, pooling.

    conv = x * w + bias      active = relu (conv)      y = pool (active)

A fusion block compacts the maps of both streams to a few channels before it compares them (Yang
et al. 2018, 3.4; the pooling windows are the authors' code's). Each step is the kernel of its own
family, the backward runs them in reverse; the fused kernels are compared with this.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import lookup

STRIDE, VALID, GROUPS = (1, 1), (0, 0, 0, 0), 1


def forward(
    backend: str, x: np.ndarray, w: np.ndarray, bias: np.ndarray, pool: str, size: int
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Forward with the kernels of `backend`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    w : ndarray (1, 1, C, CO)
    bias : ndarray (CO,)
    pool : "avg" | "max"
    size : int
        Window and stride of the pooling; rows and columns that don't fill a window are dropped.

    Returns
    -------
    y : ndarray (N, H // size, W // size, CO)
    saved : tuple of ndarray
        What `backward` of the same backend wants back.
    """
    window = (size, size)
    conv = lookup("conv2d_forward", backend)(x, w, bias, STRIDE, VALID, GROUPS)
    active = np.maximum(conv, 0)
    if pool == "avg":
        y = lookup("avg_pool_forward", backend)(active, window, window, VALID, False)
        return y, (active,)
    y, argmax = lookup("max_pool_forward", backend)(active, window, window, VALID)
    return y, (active, argmax)


def backward(
    backend: str,
    gy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    pool: str,
    size: int,
    saved: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `forward`: gx, gw, gbias."""
    active, window = saved[0], (size, size)
    if pool == "avg":
        unpool = lookup("avg_pool_backward", backend)
        g = unpool(gy, active.shape, window, window, VALID, False)
    else:
        unpool = lookup("max_pool_backward", backend)
        g = unpool(gy, saved[1], active.shape, window, window, VALID)
    g = g * (active > 0)  # relu'(0) = 0
    return (
        lookup("conv2d_input_grad", backend)(g, w, x.shape, STRIDE, VALID, GROUPS),
        lookup("conv2d_weight_grad", backend)(x, g, w.shape, STRIDE, VALID, GROUPS),
        g.sum(axis=(0, 1, 2)),
    )
