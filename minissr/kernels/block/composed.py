"""One block of a stream, composed: convolution, batch norm, activation, 2x2 pooling.

Each step is the kernel of its own family, the backward runs them in reverse. This is what the
fused kernels are compared with, and what computes everything they don't. SSR-Net is built from
eight blocks (Yang et al. 2018, Fig. 1): ReLU and average pooling in one stream, tanh and max
pooling in the other, no pooling in the last of each.

    conv = x * w + bias    normed = batch norm (conv)    active = f(normed)    y = pool (active)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels import lookup

STRIDE, VALID, GROUPS = (1, 1), (0, 0, 0, 0), 1
WINDOW, POOL_STRIDE = (2, 2), (2, 2)


def forward(
    backend: str,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float,
    activation: str,
    pool: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Training forward of one block with the kernels of `backend`.

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
        What `backward` wants back.
    """
    x = x.astype(w.dtype, copy=False)
    conv = lookup("conv2d_forward", backend)(x, w, bias, STRIDE, VALID, GROUPS)
    normed, mean, var = lookup("batch_norm_train_forward", backend)(conv, gamma, beta, eps)
    active = np.maximum(normed, 0) if activation == "relu" else np.tanh(normed)
    if pool == "avg":
        y = lookup("avg_pool_forward", backend)(active, WINDOW, POOL_STRIDE, VALID, False)
        return y, mean, var, (conv, active)
    if pool == "max":
        y, argmax = lookup("max_pool_forward", backend)(active, WINDOW, POOL_STRIDE, VALID)
        return y, mean, var, (conv, active, argmax)
    return active, mean, var, (conv, active)


def eval_forward(
    backend: str,
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    activation: str,
    pool: str,
) -> np.ndarray:
    """The block normalised by given statistics, `mean` and `var` (CO,): y (N, OH, OW, CO)."""
    x = x.astype(w.dtype, copy=False)
    conv = lookup("conv2d_forward", backend)(x, w, bias, STRIDE, VALID, GROUPS)
    y = lookup("batch_norm_eval_forward", backend)(conv, gamma, beta, mean, var, eps)
    y = np.maximum(y, 0) if activation == "relu" else np.tanh(y)
    if pool == "avg":
        y = lookup("avg_pool_forward", backend)(y, WINDOW, POOL_STRIDE, VALID, False)
    elif pool == "max":
        y, _ = lookup("max_pool_forward", backend)(y, WINDOW, POOL_STRIDE, VALID)
    return y


def backward(
    backend: str,
    gy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float,
    activation: str,
    pool: str,
    mean: np.ndarray,
    var: np.ndarray,
    saved: tuple[np.ndarray, ...],
    need_gx: bool,
    onto: np.ndarray | None = None,
) -> tuple[Any, ...]:
    """Gradients of `forward`: (gx or None, gw, gbias, ggamma, gbeta).

    With `onto` (N, H, W, C), what x's gradient has so far, gx is added to it in place, and it is
    what is returned for gx.

    Notes
    -----
    Batch norm subtracts the mean, and with it the bias, so `gbias` is exactly zero; it is
    returned as such and not as the rounding noise that summing would leave (Adam would blow that
    noise up to full steps).
    """
    conv, active = saved[:2]
    if pool == "avg":
        unpool = lookup("avg_pool_backward", backend)
        gy = unpool(gy, active.shape, WINDOW, POOL_STRIDE, VALID, False)
    elif pool == "max":
        unpool = lookup("max_pool_backward", backend)
        gy = unpool(gy, saved[2], active.shape, WINDOW, POOL_STRIDE, VALID)
    # relu'(0) = 0;  tanh' = 1 - tanh^2
    g_normed = gy * (active > 0) if activation == "relu" else gy * (1 - active * active)
    norm_backward = lookup("batch_norm_train_backward", backend)
    g_conv, g_gamma, g_beta = norm_backward(g_normed, conv, gamma, mean, var, eps)
    x = x.astype(w.dtype, copy=False)
    gw = lookup("conv2d_weight_grad", backend)(x, g_conv, w.shape, STRIDE, VALID, GROUPS)
    gx = None
    if need_gx:
        gx = lookup("conv2d_input_grad", backend)(g_conv, w, x.shape, STRIDE, VALID, GROUPS)
        if onto is not None:
            onto += gx
            gx = onto
    return gx, gw, np.zeros_like(gamma), g_gamma, g_beta
