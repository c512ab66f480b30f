"""The stem composed: the first block of both streams, one after the other.

    x = pixel unit + offset
    y_relu = pool_avg relu bn (x * w_relu)
    y_tanh = pool_max tanh bn (x * w_tanh)

The reference of the fused stem, and what computes any stem the fused one doesn't.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels import lookup

STREAMS = (("relu", "avg"), ("tanh", "max"))


def forward(
    backend: str,
    images: np.ndarray,
    unit: float,
    offset: float,
    eps: float,
    *parameters: np.ndarray,
) -> tuple[Any, ...]:
    """Training forward of both first blocks with the kernels of `backend`.

    Parameters
    ----------
    images : ndarray (N, H, W, C), uint8
    unit, offset : float
        The network's number for a pixel is pixel unit + offset.
    eps : float
        Added to the variances.
    *parameters : ndarray
        w (KH, KW, C, CO), bias, gamma, beta (CO,) of the ReLU stream, then of the tanh stream.

    Returns
    -------
    y : tuple of two ndarray (N, OH, OW, CO)
    statistics_relu, statistics_tanh : (mean, var), ndarray (CO,)
        Of the convolutions' outputs over the batch.
    saved : tuple
        What `backward` of the same backend wants back.
    """
    w = parameters[0]
    x = images.astype(w.dtype) * w.dtype.type(unit) + w.dtype.type(offset)
    block = lookup("block_forward", backend)
    outputs, statistics, saved = [], [], []
    for stream, (activation, pool) in enumerate(STREAMS):
        w, bias, gamma, beta = parameters[4 * stream : 4 * stream + 4]
        y, mean, var, kept = block(x, w, bias, gamma, beta, eps, activation, pool)
        outputs.append(y)
        statistics.append((mean, var))
        saved.append((w, gamma, beta, mean, var, kept))
    return tuple(outputs), *statistics, tuple(saved)


def backward(
    backend: str,
    g_relu: np.ndarray,
    g_tanh: np.ndarray,
    images: np.ndarray,
    unit: float,
    offset: float,
    eps: float,
    saved: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Gradients of `forward`: (gw, ggamma, gbeta) of the ReLU stream, then of the tanh stream."""
    dtype = g_relu.dtype.type
    x = images.astype(dtype) * dtype(unit) + dtype(offset)
    block = lookup("block_backward", backend)
    result = []
    for gy, kept, (activation, pool) in zip((g_relu, g_tanh), saved, STREAMS, strict=True):
        w, gamma, beta, *rest = kept
        settings = (eps, activation, pool)
        _, gw, _, g_gamma, g_beta = block(gy, x, w, gamma, beta, *settings, *rest, False)
        result.append((gw, g_gamma, g_beta))
    return tuple(result)
