"""One block of a stream, composed: convolution, batch norm, activation, 2x2 pooling.

The reference for the fused kernels: each step is the NumPy kernel of its own family, the backward
runs them in reverse. SSR-Net is built from eight of these (Yang et al. 2018, Fig. 1): ReLU and
average pooling in one stream, tanh and max pooling in the other, no pooling in the last of each.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.batch_norm.numpy_ref import (
    batch_norm_train_backward,
    batch_norm_train_forward,
)
from minissr.kernels.conv2d.numpy_ref import (
    conv2d_forward,
    conv2d_input_grad,
    conv2d_weight_grad,
)
from minissr.kernels.pool2d.numpy_ref import (
    avg_pool_backward,
    avg_pool_forward,
    max_pool_backward,
    max_pool_forward,
)

STRIDE, VALID, GROUPS = (1, 1), (0, 0, 0, 0), 1
WINDOW, POOL_STRIDE = (2, 2), (2, 2)


@register("block_forward", "numpy")
def block_forward(x, w, bias, gamma, beta, eps, activation, pool):
    """Training forward of one block.

    Parameters
    ----------
    x : ndarray (N, H, W, C), float or uint8
    w : ndarray (KH, KW, C, CO)
    bias, gamma, beta : ndarray (CO,)
    eps : float
    activation : "relu" | "tanh"
    pool : "avg" | "max" | "none"
        2x2 windows, stride 2; an odd last row or column is dropped.

    Returns
    -------
    y : ndarray (N, OH, OW, CO)
    mean, var : ndarray (CO,)
        Statistics of the convolution's output over the batch; `var` is the biased one.
    saved : tuple of ndarray
        What `block_backward` of the same backend wants back.
    """
    conv = conv2d_forward(x.astype(w.dtype, copy=False), w, bias, STRIDE, VALID, GROUPS)
    normed, mean, var = batch_norm_train_forward(conv, gamma, beta, eps)
    active = np.maximum(normed, 0) if activation == "relu" else np.tanh(normed)
    if pool == "avg":
        y = avg_pool_forward(active, WINDOW, POOL_STRIDE, VALID, False)
        return y, mean, var, (conv, active)
    if pool == "max":
        y, argmax = max_pool_forward(active, WINDOW, POOL_STRIDE, VALID)
        return y, mean, var, (conv, active, argmax)
    return active, mean, var, (conv, active)


@register("block_backward", "numpy")
def block_backward(gy, x, w, gamma, beta, eps, activation, pool, mean, var, saved, need_gx):
    """Gradients of `block_forward`: (gx or None, gw, gbias, ggamma, gbeta).

    Notes
    -----
    Batch norm subtracts the mean, and with it the bias, so `gbias` is exactly zero; it is
    returned as such and not as the rounding noise that summing would leave (Adam would blow that
    noise up to full steps).
    """
    conv, active = saved[:2]
    if pool == "avg":
        gy = avg_pool_backward(gy, active.shape, WINDOW, POOL_STRIDE, VALID, False)
    elif pool == "max":
        gy = max_pool_backward(gy, saved[2], active.shape, WINDOW, POOL_STRIDE, VALID)
    # relu'(0) = 0;  tanh' = 1 - tanh^2
    g_normed = gy * (active > 0) if activation == "relu" else gy * (1 - active * active)
    g_conv, g_gamma, g_beta = batch_norm_train_backward(g_normed, conv, gamma, mean, var, eps)
    x = x.astype(w.dtype, copy=False)
    gw = conv2d_weight_grad(x, g_conv, w.shape, STRIDE, VALID, GROUPS)
    gx = conv2d_input_grad(g_conv, w, x.shape, STRIDE, VALID, GROUPS) if need_gx else None
    return gx, gw, np.zeros_like(gamma), g_gamma, g_beta
