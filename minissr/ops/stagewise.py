"""Soft stagewise regression: from the outputs of K stages to an age (Yang et al. 2018, Eq. 7).

    paper           here           what it is
    V               max_age        upper end of the ages, years (the paper starts at 0; see min_age)
    K               len(stages)    number of stages
    s_k             stages[k]      number of bins of stage k
    p_i^(k)         p              probability (or, in the released network, strength) of bin i
    eta_i^(k)       eta            shift of bin i, in bins
    Delta_k         delta          stretch of the number of bins of stage k
    i-bar           i + c_eta eta  index of the shifted bin
    s-bar_k         s_k f_k        stretched number of bins, f_k = max(1 + c_delta delta_k, floor)
    w-bar_k         width          width of a bin of stage k, years
    y~              age            the prediction, years
    (in the code)   c_delta, c_eta lambda_d and lambda_local, 0 (off) to 1

The bins of all stages lie one after the other along the last axis of p and eta.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor

FLOOR = 1e-3


class SoftStagewiseRegression(Function):
    """age = min_age + sum_k w_k q_k (Yang et al. 2018, Eqs. 4 to 7), with, for one image,

        f_k = 1 + c_delta delta_k             stretch of stage k's number of bins       (Eq. 4)
        w_k = V / prod_{j<=k} s_j f_j         width of a bin, V = max_age - min_age     (Eq. 5)
        q_k = sum_i p_i (i + c_eta eta_i)     index of the expected bin, i = 0..s_k - 1 (Eq. 6, 7)

    **Derivation.** g = dL/d age for this image. p_i and eta_i of stage k stand in q_k alone:

        d age / d q_k    = w_k
        d q_k / d p_i    = i + c_eta eta_i          dL/dp_i   = g w_k (i + c_eta eta_i)
        d q_k / d eta_i  = p_i c_eta                dL/deta_i = g w_k p_i c_eta

    delta_j stretches stage j and, because widths are a product, every finer stage. It stands in
    w_k for all k >= j, once, as the factor 1 / f_j, and all other factors are constants:

        w_k              = A / f_j,  A = V / (s_j prod of the other factors)
        d w_k / d f_j    = -A / f_j^2 = -w_k / f_j                      for k >= j, else 0
        d f_j / d delta_j = c_delta
        d age / d delta_j = sum_{k>=j} q_k d w_k / d delta_j = -(c_delta / f_j) sum_{k>=j} w_k q_k
        dL/ddelta_j       = -g (c_delta / f_j) sum_{k>=j} w_k q_k

    The sums for all j are one cumulative sum, from the finest stage back. Saved are the inputs,
    and w and q, which are also `extra`.

    **The pole.** f_j = 0, that is delta_j = -1 / c_delta, makes the width infinite, and nearby
    age grows like 1 / f_j and its gradient like 1 / f_j^2. With c_delta = 1 and delta = tanh(...)
    this happens: float32 tanh is exactly -1 below about -9.

    **The floor.** So f_j = max(1 + c_delta delta_j, floor) instead. Where the floor holds,
    1 + c_delta delta_j <= floor, f_j is a constant and dL/ddelta_j = 0; the kink itself counts as
    held. Widths stay positive and below V / prod (s_j floor).

    Deviations
    ----------
    The floor is ours; `floor=0` is the equation as printed, infinite at the pole and negative
    beyond it. c_delta and c_eta come from the authors' code; in the text both are 1.
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
        age, width, index = ctx.kernel("stagewise_forward")(p, eta, delta, *settings)
        ctx.save(p, eta, delta, width, index, *settings)
        ctx.extra = (width, index)
        return age

    @staticmethod
    def backward(ctx: Context, g_age: Array) -> tuple[Array, Array, Array]:
        return ctx.kernel("stagewise_backward")(g_age, *ctx.saved)


def kernel_settings(
    p: Array,
    eta: Array,
    delta: Array,
    stages: Sequence[int],
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> tuple[Any, ...]:
    """Shapes and settings checked, the settings as the kernels take them after the arrays."""
    stages = checked_stages(stages)
    check_shapes(p, eta, delta, stages)
    check_settings(min_age, max_age, c_delta, c_eta, floor)
    # To the kernel no floor is -inf: 0 would still turn a negative stretch into 0.
    constants = (min_age, max_age, c_delta, c_eta, floor if floor > 0 else -math.inf)
    return (stages, *map(float, constants))


def checked_stages(stages: Sequence[int]) -> tuple[int, ...]:
    """The numbers of bins as a tuple of ints; refuses none at all and any below 1."""
    given = tuple(stages)
    if not given or not all(hasattr(s, "__index__") and s >= 1 for s in given):
        raise ValueError(
            f"stages {given}; expected one or more whole numbers >= 1, as in (3, 3, 3)"
        )
    return tuple(int(s) for s in given)


def check_shapes(p: Array, eta: Array, delta: Array, stages: tuple[int, ...]) -> None:
    """Refuse arrays that don't hold one number a bin (p, eta) or a stage (delta)."""
    bins = sum(stages)
    if p.ndim != 2 or p.shape[1] != bins:
        raise ValueError(f"p of shape {p.shape}; stages {stages} need (N, {bins})")
    if eta.shape != p.shape:
        raise ValueError(f"eta of shape {eta.shape}; expected that of p, {p.shape}")
    if delta.shape != (len(p), len(stages)):
        raise ValueError(
            f"delta of shape {delta.shape}; {len(p)} images and stages {stages} "
            f"need {(len(p), len(stages))}"
        )


def check_settings(
    min_age: float, max_age: float, c_delta: float, c_eta: float, floor: float
) -> None:
    """Refuse an empty range of ages, coefficients that aren't numbers and a negative floor."""
    if not (math.isfinite(min_age) and math.isfinite(max_age) and min_age < max_age):
        raise ValueError(
            f"ages from {min_age} to {max_age}; expected two finite numbers, min_age < max_age"
        )
    for name, value in (("c_delta", c_delta), ("c_eta", c_eta)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} {value}; expected 0 (off) to 1 (as in the paper)")
    if not 0 <= floor < 1:
        raise ValueError(f"floor {floor}; expected 0 (none) or a small number below 1")


def soft_stagewise_regression(
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
    """The age that K stages of bins agree on (Yang et al. 2018, Eq. 7).

    With `c_delta = c_eta = 0` the bins are fixed (Eq. 3), and with a single stage and p from a
    softmax it is then the expected value of DEX (Eq. 2). For the widths and bin indices use
    `SoftStagewiseRegression.apply_with_extra`, which returns `age, (width, index)`.

    Parameters
    ----------
    p : Tensor (N, s_1 + ... + s_K)
        How much each bin counts; the bins of all stages one after the other.
    eta : Tensor (N, s_1 + ... + s_K)
        Shift of each bin, in bins.
    delta : Tensor (N, K)
        Relative stretch of each stage's number of bins.
    stages : sequence of int
        s_1, ..., s_K, the number of bins of each stage, coarse to fine.
    min_age, max_age : float
        The range of ages that is divided, in years.
    c_delta, c_eta : float
        How much of delta and eta is used, 0 to 1 (the authors' lambda_d and lambda_local).
    floor : float
        The smallest allowed 1 + c_delta delta; delta gets no gradient there. 0 is no floor.

    Returns
    -------
    Tensor (N,)
        Ages in years, not clamped to the range.

    Raises
    ------
    ValueError
        If a shape doesn't fit `stages`, or a setting makes no sense.

    Examples
    --------
    The paper's own, of section 3.2: ages 0 to 90, two stages of three bins of 30 and 10 years. Here
    everything is in the middle bin of stage 1 and in the last of stage 2.

    >>> import numpy as np
    >>> from minissr import Tensor
    >>> p = Tensor(np.array([[0.0, 1, 0, 0, 0, 1]]))
    >>> eta, delta = Tensor(np.zeros((1, 6))), Tensor(np.zeros((1, 2)))
    >>> soft_stagewise_regression(p, eta, delta, stages=(3, 3), max_age=90).data
    array([50.])
    """
    return SoftStagewiseRegression.apply(
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
