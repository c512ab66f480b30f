"""Batch normalisation over the last axis in NumPy: the reference (Ioffe & Szegedy 2015, Alg. 1).

x is (..., C); its M = x.size / C rows are the samples. In training, with the sums over the rows,

    mean = (1/M) sum x        var = (1/M) sum (x - mean)^2        r = 1 / sqrt(var + eps)
    xhat = (x - mean) r       y = gamma xhat + beta

`var` is the biased one, here and in the moving average (as in Keras). It is taken in a second pass
over the data: (1/M) sum x^2 - mean^2 loses every digit once the mean is large against the spread,
and raw pixels have such means. All sums run in float64 whatever the dtype of x, since a float32
running sum of 200,000 rows is off in its fifth digit.

Backward. gbeta = sum gy and ggamma = sum gy xhat. Each x reaches y directly, through the mean and
through the variance; from d xhat_m / d x_n = r (delta_mn - 1/M - xhat_m xhat_n / M),

    gx = gamma r (gy - gbeta / M - xhat ggamma / M)

In evaluation, mean and var are the layer's moving statistics, constants, and y is affine in x:
gx = gamma r gy, with ggamma and gbeta as above.

Evaluation takes an empty batch (M = 0); training has no statistics then, and the op refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array


def rows(x: Array) -> Array:
    """(..., C) -> (M, C)."""
    return x.reshape(-1, x.shape[-1])


def scale_of(gamma: Array, var: Array, eps: float) -> Array:
    """gamma r = gamma / sqrt(var + eps), (C,)."""
    return gamma / np.sqrt(var + eps)


def parameter_grads(
    gy: Array, x: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """xhat (..., C), ggamma (C,), gbeta (C,)."""
    xhat = (x - mean) / np.sqrt(var + eps)  # (..., C)
    ggamma = rows(gy * xhat).sum(axis=0, dtype=np.float64).astype(x.dtype)  # (C,)
    gbeta = rows(gy).sum(axis=0, dtype=np.float64).astype(x.dtype)  # (C,)
    return xhat, ggamma, gbeta


@register("batch_norm_train_forward", "numpy")
def batch_norm_train_forward(
    x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Normalise `x` (..., C) by its own statistics: y (..., C), mean (C,), biased variance (C,)."""
    mean = rows(x).mean(axis=0, dtype=np.float64).astype(x.dtype)  # (C,)
    centred = x - mean  # (..., C)
    var = rows(centred**2).mean(axis=0, dtype=np.float64).astype(x.dtype)  # (C,)
    return centred * scale_of(gamma, var, eps) + beta, mean, var


@register("batch_norm_train_backward", "numpy")
def batch_norm_train_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being functions of x."""
    xhat, ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    m = rows(x).shape[0]
    return scale_of(gamma, var, eps) * (gy - gbeta / m - xhat * (ggamma / m)), ggamma, gbeta


@register("batch_norm_eval_forward", "numpy")
def batch_norm_eval_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> Array:
    """Normalise `x` (..., C) by the given statistics."""
    return (x - mean) * scale_of(gamma, var, eps) + beta


@register("batch_norm_eval_backward", "numpy")
def batch_norm_eval_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being constants."""
    _, ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    return gy * scale_of(gamma, var, eps), ggamma, gbeta


@register("batch_norm_follow", "numpy")
def batch_norm_follow(
    moving: Sequence[tuple[Array, Array]],
    batch: Sequence[tuple[Array, Array]],
    rates: Sequence[float],
    corrections: Sequence[float],
) -> None:
    """Let moving statistics follow a batch's, in place: m += rate (b - m), of several layers.

    Each pair is (mean, variance), both (C,); a batch's variance is multiplied by the layer's
    correction first.
    """
    layers = zip(moving, batch, rates, corrections, strict=True)
    for (moving_mean, moving_variance), (mean, variance), rate, correction in layers:
        moving_mean += rate * (mean - moving_mean)
        moving_variance += rate * (variance * correction - moving_variance)
