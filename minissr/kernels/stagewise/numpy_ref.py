"""Soft stagewise regression in NumPy: the reference (Yang et al. 2018, Eqs. 4 to 7).

K stages cut the ages from `min_age` to `max_age` into ever finer bins. Stage k has s_k bins;
p and eta hold the bins of all stages one after the other, (N, s_1 + ... + s_K), delta is (N, K).

    stretch of a stage   f_k = max(1 + c_d delta_k, floor)
    width of a bin       w_k = (max_age - min_age) / prod_{j <= k} s_j f_j
    bin index            q_k = sum_i p_i (i + c_e eta_i)                      i = 0 .. s_k - 1
    age, in years        y   = min_age + sum_k w_k q_k

f_j multiplies the number of bins of stage j and so narrows its bins and all finer ones (Eqs. 4, 5),
eta_i shifts bin i (Eq. 6), and the ages of the stages add up (Eq. 7).

Backward, with g = dL/dy. p and eta of stage k appear in q_k alone. delta_j appears in the width of
every stage k >= j, as the factor 1 / f_j, and d(1 / f_j) / d delta_j = -(c_d / f_j) (1 / f_j):

    gp_i     = g w_k (i + c_e eta_i)
    geta_i   = g w_k p_i c_e
    gdelta_j = -g (c_d / f_j) sum_{k >= j} w_k q_k
               0 where the floor holds, 1 + c_d delta_j <= floor

Deviations. The floor is ours: 1 + delta is exactly 0 in float32 once tanh saturates, and the width
infinite. `floor = -inf` switches it off. c_d and c_e are `lambda_d` and `lambda_local` of the
authors' code; in the paper's text both are 1.

An empty batch gives empty results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array


def bins_of(stages: Sequence[int]) -> list[slice]:
    """Where each stage's bins lie in the concatenated p and eta."""
    ends = np.cumsum(stages).tolist()
    return [slice(end - s, end) for s, end in zip(stages, ends, strict=True)]


@register("stagewise_forward", "numpy")
def stagewise_forward(
    p: Array,
    eta: Array,
    delta: Array,
    stages: Sequence[int],
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> tuple[Array, Array, Array]:
    """The ages (N,) in years, the bin widths (N, K) in years and the bin indices (N, K)."""
    s = np.asarray(stages, p.dtype)  # (K,)
    stretched = s * np.maximum(1 + c_delta * delta, floor)  # Eq. 4                        (N, K)
    width = (max_age - min_age) / np.cumprod(stretched, axis=1)  # Eq. 5                   (N, K)
    index = np.empty_like(width)
    for k, bins in enumerate(bins_of(stages)):
        i = np.arange(stages[k], dtype=p.dtype)
        index[:, k] = (p[:, bins] * (i + c_eta * eta[:, bins])).sum(axis=1)  # Eq. 6       (N,)
    return min_age + (width * index).sum(axis=1), width, index  # Eq. 7                    (N,)


@register("stagewise_backward", "numpy")
def stagewise_backward(
    g_age: Array,
    p: Array,
    eta: Array,
    delta: Array,
    width: Array,
    index: Array,
    stages: Sequence[int],
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> tuple[Array, Array, Array]:
    """The gradients gp, geta (N, sum of stages) and gdelta (N, K), from `g_age` (N,)."""
    gp, geta = np.empty_like(p), np.empty_like(eta)
    for k, bins in enumerate(bins_of(stages)):
        i = np.arange(stages[k], dtype=p.dtype)
        g_index = (g_age * width[:, k])[:, None]  # (N, 1)
        gp[:, bins] = g_index * (i + c_eta * eta[:, bins])  # (N, s_k)
        geta[:, bins] = g_index * p[:, bins] * c_eta  # (N, s_k)

    stretch = 1 + c_delta * delta  # (N, K)
    finer = np.cumsum((width * index)[:, ::-1], axis=1)[:, ::-1]  # sum over k >= j      (N, K)
    gdelta = -g_age[:, None] * (c_delta / np.maximum(stretch, floor)) * finer  # (N, K)
    return gp, geta, np.where(stretch > floor, gdelta, 0)
