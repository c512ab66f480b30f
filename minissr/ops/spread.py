"""How sure the stages are: the variance of the age they describe, and a loss on it.

Where each stage's p is a distribution, the stages together are one, too: pick a bin in every stage,
each by its own p, and add up where these bins stand. Its mean is the age of Eq. 7, and because the
stages pick independently, its variance is the sum of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function
from minissr.kernels.stagewise.numpy_ref import bins_of
from minissr.ops.loss import target_like
from minissr.ops.stagewise import FLOOR, kernel_settings

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


class StagewiseVariance(Function):
    """v = sum_k w_k^2 u_k, the variance of the age, with the notation of
    `SoftStagewiseRegression` and, for one image,

        z_i = i + c_eta eta_i              where bin i stands
        q_k = sum_i p_i z_i                its mean
        u_k = sum_i p_i z_i^2 - q_k^2      its variance, in bins^2

    **Derivation.** g = dL/dv. p_i and eta_i stand in u_k alone, also by way of q_k:

        d u_k / d p_i   = z_i^2 - 2 q_k z_i             dL/dp_i   = g w_k^2 z_i (z_i - 2 q_k)
        d u_k / d eta_i = c_eta (2 p_i z_i - 2 q_k p_i) dL/deta_i = g w_k^2 2 c_eta p_i (z_i - q_k)

    delta_j stands in w_k for k >= j as 1 / f_j, hence in w_k^2 as 1 / f_j^2:

        d w_k^2 / d delta_j = -(2 c_delta / f_j) w_k^2
        dL/ddelta_j         = -g (2 c_delta / f_j) sum_{k>=j} w_k^2 u_k    (0 where held)
    """

    @staticmethod
    def forward(
        ctx: Context,
        p: Array,
        eta: Array,
        delta: Array,
        *,
        stages: Sequence[int],
        min_age: float,
        max_age: float,
        c_delta: float,
        c_eta: float,
        floor: float,
    ) -> Array:
        settings = kernel_settings(p, eta, delta, stages, min_age, max_age, c_delta, c_eta, floor)
        _, width, index = ctx.kernel("stagewise_forward")(p, eta, delta, *settings)
        parts = bins_of(settings[0])
        i = ctx.xp.concatenate([ctx.xp.arange(b.stop - b.start, dtype=p.dtype) for b in parts])
        z = i + p.dtype.type(c_eta) * eta  # (N, bins)
        moments = p * z**2
        second = ctx.xp.stack([moments[:, b].sum(axis=1) for b in parts], axis=1)  # (N, K)
        variance = width**2 * (second - index**2)  # (N, K) years^2
        stretch = 1 + p.dtype.type(c_delta) * delta
        ctx.save(p, z, width, index, variance, stretch, parts, c_delta, c_eta, settings[-1])
        return variance.sum(axis=1)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array, Array]:
        p, z, width, index, variance, stretch, parts, c_delta, c_eta, floor = ctx.saved
        xp, number = ctx.xp, p.dtype.type
        scale, mean = xp.empty_like(p), xp.empty_like(p)  # of each bin's stage
        for k, bins in enumerate(parts):
            scale[:, bins] = (g * width[:, k] ** 2)[:, None]
            mean[:, bins] = index[:, k : k + 1]
        gp = scale * z * (z - 2 * mean)
        geta = scale * number(2 * c_eta) * p * (z - mean)
        finer = variance[:, ::-1].cumsum(axis=1)[:, ::-1]  # sum over k >= j                (N, K)
        gdelta = -g[:, None] * (number(2 * c_delta) / xp.maximum(stretch, floor)) * finer
        return gp, geta, xp.where(stretch > floor, gdelta, number(0))


class NormalDivergence(Function):
    """L = (1/N) sum_n KL( N(t, s^2) || N(y, v + s^2) ), of two normal distributions in years: how
    far what is said of a face, mean y and variance v, is from its label t, blurred by s years.

        KL = ( ln(r / s^2) + (s^2 + (y - t)^2) / r - 1 ) / 2        r = v + s^2

    dL/dy = (g/N) (y - t) / r
    dL/dv = (g/2N) (1 - (s^2 + (y - t)^2) / r) / r

    It is 0 where y = t and v = 0. Blurring both sides keeps it finite where v = 0 and y is off.
    """

    @staticmethod
    def forward(ctx: Context, mean: Array, variance: Array, *, target: Any, sigma: float) -> Array:
        target = target_like(ctx, mean, target)
        if variance.shape != mean.shape:
            raise ValueError(f"{ctx.op} of means {mean.shape} and variances {variance.shape}")
        if not (sigma > 0 and math.isfinite(sigma)):
            raise ValueError(f"{ctx.op} sigma {sigma}; expected a number of years above 0")
        square = mean.dtype.type(sigma**2)
        error, total = mean - target, variance + square
        ratio = (square + error**2) / total
        ctx.save(error, total, ratio)
        return ctx.xp.asarray((ctx.xp.log(total / square) + ratio - 1).mean() / 2)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array]:
        error, total, ratio = ctx.saved
        share = g / error.size / total
        return share * error, share * (1 - ratio) / 2


def stagewise_variance(
    p: Tensor,
    eta: Tensor,
    delta: Tensor,
    *,
    stages: Sequence[int],
    min_age: float = 0.0,
    max_age: float = 101.0,
    c_delta: float = 1.0,
    c_eta: float = 1.0,
    floor: float = FLOOR,
) -> Tensor:
    """The variance of the age that the stages describe; see `soft_stagewise_regression`.

    Parameters
    ----------
    p : Tensor (N, s_1 + ... + s_K)
        Of each stage a distribution: not negative, adding up to 1. Otherwise it is no variance.
    eta : Tensor (N, s_1 + ... + s_K)
        Shift of each bin, in bins.
    delta : Tensor (N, K)
        Relative stretch of each stage's number of bins.
    stages : sequence of int
        The number of bins of each stage, coarse to fine.
    min_age, max_age : float
        The range of ages that is divided, in years.
    c_delta, c_eta : float
        How much of delta and eta is used, 0 to 1.
    floor : float
        The smallest allowed 1 + c_delta delta.

    Returns
    -------
    Tensor (N,)
        Years squared.

    Examples
    --------
    Two bins of 50 years that are equally likely stand 25 years from their mean.

    >>> import numpy as np
    >>> from minissr import Tensor
    >>> p, zeros = Tensor(np.array([[0.5, 0.5]])), Tensor(np.zeros((1, 2)))
    >>> stagewise_variance(p, zeros, zeros[:, :1], stages=(2,), max_age=100).data
    array([625.])
    """
    return StagewiseVariance.apply(
        p,
        eta,
        delta,
        stages=stages,
        min_age=min_age,
        max_age=max_age,
        c_delta=c_delta,
        c_eta=c_eta,
        floor=floor,
    )


def normal_divergence(mean: Tensor, variance: Tensor, target: Any, sigma: float) -> Tensor:
    """How far normal distributions are from labels blurred by `sigma`; the mean over the batch.

    Parameters
    ----------
    mean, variance : Tensor (N,)
        Years, and years squared, from 0 up.
    target : ndarray (N,)
        Years.
    sigma : float
        Years, above 0.

    Returns
    -------
    Tensor ()
        In nats; 0 where the mean is the target and the variance 0.
    """
    return NormalDivergence.apply(mean, variance, target=target, sigma=sigma)
