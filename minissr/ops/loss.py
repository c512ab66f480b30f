"""Losses: one number, by default the mean over the batch, from predictions and constant targets.

Targets are arrays, not tensors: nothing flows back to them. They must have exactly the shape
that is asked for. The released SSR-Net was trained on a loss that broadcast (N,) against (N, 1)
and so compared each face with every other face's age; here that is an error.

Classification losses take logits z, the numbers before softmax or sigmoid, because ln softmax(z)
can be computed without underflow and its gradient is as simple as a difference. Below,
q = softmax(z) or sigmoid(z), and t is the target.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function
from minissr.ops.activation import log_softmax_of, logistic

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


def target_like(ctx: Context, prediction: Array, target: Any) -> Array:
    """The target as an array of the prediction's shape and dtype."""
    target = as_array(ctx, target)
    if target.shape != prediction.shape:
        raise ValueError(
            f"{ctx.op} of a prediction {prediction.shape} and a target {target.shape}; "
            "the shapes must be equal, reshape one of them"
        )
    if prediction.size == 0:
        raise ValueError(f"{ctx.op} of an empty batch {prediction.shape} has no mean")
    return target.astype(prediction.dtype, copy=False)


def as_array(ctx: Context, value: Any) -> Array:
    """The numbers of an array, a list or a tensor, where the prediction lives."""
    return ctx.xp.asarray(value.data if hasattr(value, "from_op") else value)


def check_logits(ctx: Context, logits: Array) -> None:
    if logits.ndim != 2 or logits.size == 0:
        raise ValueError(f"{ctx.op} of logits {logits.shape}; expected (N, S), N and S >= 1")


class MeanAbsoluteError(Function):
    """L = (1/n) sum |x - t| over all n elements (Yang et al. 2018, Eq. 1).

    dL/dx = g sign(x - t) / n, and 0 where x = t exactly: |0|' = 0, a subgradient.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, *, target: Any) -> Array:
        target = target_like(ctx, x, target)
        ctx.save(x, target, "absolute")
        return ctx.kernel("error_forward")(*ctx.saved)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        return ctx.kernel("error_backward")(g, *ctx.saved)


class MeanSquaredError(Function):
    """L = (1/n) sum (x - t)^2 over all n elements.  dL/dx = g 2 (x - t) / n."""

    @staticmethod
    def forward(ctx: Context, x: Array, *, target: Any) -> Array:
        target = target_like(ctx, x, target)
        ctx.save(x, target, "squared")
        return ctx.kernel("error_forward")(*ctx.saved)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        return ctx.kernel("error_backward")(g, *ctx.saved)


class HuberError(Function):
    """L = (1/n) sum h(x - t) over all n elements (Huber 1964), divided by d so that far off it is
    the absolute error less a constant:

        h(e) = e^2 / (2 d)   for |e| <= d       h'(e) = e / d
        h(e) = |e| - d / 2   beyond             h'(e) = sign(e)

    dL/dx = g clip((x - t) / d, -1, 1) / n. Both h and h' are continuous: no kink to speak of.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, *, target: Any, delta: float) -> Array:
        target = target_like(ctx, x, target)
        if not (delta > 0 and math.isfinite(delta)):
            raise ValueError(f"{ctx.op} delta {delta}; expected a number above 0")
        error = x - target
        slope = (error / x.dtype.type(delta)).clip(-1, 1)
        ctx.save(slope)
        # |e| - d / 2 = e sign(e) - d / 2 and e^2 / (2 d) are both slope (e - d slope / 2).
        return ctx.xp.asarray((slope * (error - slope * x.dtype.type(delta / 2))).mean())

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (slope,) = ctx.saved
        return slope * (g / slope.size)


class CrossEntropy(Function):
    """L = -(1/N) sum_n sum_i t_ni ln q_ni with q = softmax(z) along the last axis.

    ln q_i = z_i - ln sum_j e^z_j, hence d(ln q_j)/dz_i = delta_ij - q_i, and for one row

        dL/dz_i = -(g/N) sum_j t_j (delta_ij - q_i) = (g/N) (q_i sum_j t_j - t_i)

    which is q - t for weights t that add up to 1. A class number c stands for t_i = delta_ic.
    Without the 1/N it is the sum; without the sum over n, N losses, each with a g of its own.
    """

    @staticmethod
    def forward(ctx: Context, logits: Array, *, target: Any, reduction: str) -> Array:
        check_logits(ctx, logits)
        if reduction not in REDUCTIONS:
            raise ValueError(f"{ctx.op} reduction {reduction!r} is none of {', '.join(REDUCTIONS)}")
        weights = class_weights(ctx, logits, target)  # (N, S)
        log_q = log_softmax_of(logits, 1, ctx.xp)  # (N, S)
        ctx.save(log_q, weights, reduction)
        losses = -(weights * log_q).sum(axis=1)  # (N,)
        if reduction == "none":
            return losses
        return ctx.xp.asarray(losses.mean() if reduction == "mean" else losses.sum())

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        log_q, weights, reduction = ctx.saved
        g_rows = g / len(log_q) if reduction == "mean" else g.reshape(-1, 1)  # (), (1, 1) or (N, 1)
        return softmax_minus_target(ctx, log_q, weights) * g_rows


def class_weights(ctx: Context, logits: Array, target: Any) -> Array:
    """Targets as (N, S): a row of weights an image, or one-hot rows for class numbers (N,)."""
    target = as_array(ctx, target)
    if target.dtype.kind not in "iu":
        return target_like(ctx, logits, target)
    n, s = logits.shape
    if target.shape != (n,):
        raise ValueError(
            f"{ctx.op} of logits {logits.shape} and classes {target.shape}; expected {(n,)}"
        )
    if target.min() < 0 or target.max() >= s:
        wrong = target[(target < 0) | (target >= s)][0]
        raise ValueError(f"{ctx.op} target class {wrong}; expected 0 to {s - 1}")
    one_hot = ctx.xp.zeros(logits.shape, logits.dtype)
    one_hot[ctx.xp.arange(n), target] = 1
    return one_hot


def softmax_minus_target(ctx: Context, log_q: Array, weights: Array) -> Array:
    """q sum(t) - t, a row an image: (N, S)."""
    return ctx.xp.exp(log_q) * weights.sum(axis=1, keepdims=True) - weights


class KLDivergence(Function):
    """L = (1/N) sum_n sum_i t_ni (ln t_ni - ln q_ni) with q = softmax(z), and 0 ln 0 = 0.

    Cross-entropy minus the entropy of t, which is a constant: the same gradient,
    dL/dz_i = (g/N) (q_i sum_j t_j - t_i). The value is 0 where q = t.
    """

    @staticmethod
    def forward(ctx: Context, logits: Array, *, target: Any) -> Array:
        check_logits(ctx, logits)
        t = target_like(ctx, logits, target)
        if t.min() < 0:
            raise ValueError(f"{ctx.op} target {t.min()}; probabilities are not negative")
        log_q = log_softmax_of(logits, 1, ctx.xp)  # (N, S)
        log_t = ctx.xp.log(ctx.xp.where(t > 0, t, t.dtype.type(1)))  # 0 ln 0 = 0 ln 1
        ctx.save(log_q, t)
        return ctx.xp.asarray((t * (log_t - log_q)).sum() / t.dtype.type(len(t)))

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        log_q, t = ctx.saved
        return softmax_minus_target(ctx, log_q, t) * (g / len(log_q))


class BinaryCrossEntropy(Function):
    """L = -(1/n) sum w (t ln q + (1 - t) ln(1 - q)) with q = sigmoid(z), over all n elements.

    With ln q = z - ln(1 + e^z) and ln(1 - q) = -ln(1 + e^z), one element is

        ln(1 + e^z) - t z = max(z, 0) - t z + ln(1 + e^-|z|)        (the last can't overflow)

    and since d ln(1 + e^z) / dz = q,  dL/dz = g w (q - t) / n.
    """

    @staticmethod
    def forward(ctx: Context, logits: Array, *, target: Any, weight: Any) -> Array:
        xp = ctx.xp
        t = target_like(ctx, logits, target)
        if t.min() < 0 or t.max() > 1:
            raise ValueError(f"{ctx.op} targets from {t.min()} to {t.max()}; expected 0 to 1")
        w = checked_weight(ctx, logits, weight)
        zero = logits.dtype.type(0)
        loss = xp.maximum(logits, zero) - t * logits + xp.log1p(xp.exp(-abs(logits)))
        ctx.save(logits, t, w)
        return xp.asarray((w * loss).mean())

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        logits, t, w = ctx.saved
        return w * (logistic(logits, ctx.xp) - t) * (g / logits.size)


def checked_weight(ctx: Context, logits: Array, weight: Any) -> Array:
    """Weights of the last axis, (T,); 1 if none are given."""
    if weight is None:
        return logits.dtype.type(1)
    weight = ctx.xp.asarray(weight, dtype=logits.dtype)
    if weight.shape != logits.shape[-1:]:
        raise ValueError(f"{ctx.op} weight of shape {weight.shape}; expected {logits.shape[-1:]}")
    return weight


def mae(prediction: Tensor, target: Any) -> Tensor:
    """The mean absolute error; the gradient is 0 where prediction and target are equal.

    Parameters
    ----------
    prediction : Tensor (...)
        Ages in years, say.
    target : ndarray (...)
        Of exactly the same shape.

    Returns
    -------
    Tensor ()
        In the unit of the prediction.

    Examples
    --------
    >>> from minissr import Tensor
    >>> mae(Tensor([20.0, 30.0]), [22.0, 34.0]).item()
    3.0
    """
    return MeanAbsoluteError.apply(prediction, target=target)


def mse(prediction: Tensor, target: Any) -> Tensor:
    """The mean squared error.

    Parameters
    ----------
    prediction : Tensor (...)
    target : ndarray (...)
        Of exactly the same shape.

    Returns
    -------
    Tensor ()
        In the squared unit of the prediction.
    """
    return MeanSquaredError.apply(prediction, target=target)


def huber(prediction: Tensor, target: Any, delta: float = 1.0) -> Tensor:
    """The mean Huber error over `delta`: quadratic up to errors of `delta`, as `mae` beyond.

    Parameters
    ----------
    prediction : Tensor (...)
    target : ndarray (...)
        Of exactly the same shape.
    delta : float
        Above 0, in the unit of the prediction.

    Returns
    -------
    Tensor ()
        In the unit of the prediction.

    Examples
    --------
    >>> from minissr import Tensor
    >>> huber(Tensor([20.0, 30.0]), [21.0, 40.0], delta=4.0).item()  # (1/8 + (10 - 2)) / 2
    4.0625
    """
    return HuberError.apply(prediction, target=target, delta=delta)


def cross_entropy(logits: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """-sum t ln softmax(logits), the mean over the batch.

    Parameters
    ----------
    logits : Tensor (N, S)
    target : ndarray (N,) of int, or (N, S) of float
        Class numbers 0 to S - 1, or a weight for each class.
    reduction : "mean" | "sum" | "none"
        Of the batch; "none" gives a loss an image.

    Returns
    -------
    Tensor () or, with "none", (N,)
        In nats.

    Examples
    --------
    >>> import numpy as np
    >>> from minissr import Tensor
    >>> loss = cross_entropy(Tensor([[0.0, 0.0]]), np.array([1]))
    >>> print(f"{loss.item():.4f}")  # ln 2
    0.6931
    """
    return CrossEntropy.apply(logits, target=target, reduction=reduction)


def kl_divergence(logits: Tensor, target: Any) -> Tensor:
    """sum t (ln t - ln softmax(logits)), how far the softmax is from `target`; batch mean.

    Parameters
    ----------
    logits : Tensor (N, S)
    target : ndarray (N, S)
        Probabilities; 0 ln 0 counts as 0.

    Returns
    -------
    Tensor ()
        In nats; 0 where softmax(logits) is `target`.
    """
    return KLDivergence.apply(logits, target=target)


def binary_cross_entropy(logits: Tensor, target: Any, weight: Any = None) -> Tensor:
    """-(t ln q + (1 - t) ln(1 - q)) with q = sigmoid(logits), the mean over all elements.

    Parameters
    ----------
    logits : Tensor (..., T)
    target : ndarray (..., T)
        0 to 1.
    weight : ndarray (T,), optional
        The importance of each of T tasks, as in ordinal regression ("older than t?").

    Returns
    -------
    Tensor ()
        In nats.
    """
    return BinaryCrossEntropy.apply(logits, target=target, weight=weight)
