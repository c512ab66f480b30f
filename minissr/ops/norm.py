"""Batch normalisation (Ioffe & Szegedy 2015): by the batch in training, by memory afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minissr.autograd.function import Array, Context, Function

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


def check_shapes(x: Array, eps: float, **per_channel: Array) -> None:
    """Refuse parameters or statistics that aren't one number a channel, and a negative eps."""
    if x.ndim < 2:
        raise ValueError(f"batch_norm of x {x.shape}; expected (..., C), at least two axes")
    for name, array in per_channel.items():
        if array.shape != x.shape[-1:]:
            raise ValueError(f"batch_norm {name} of shape {array.shape}; expected {x.shape[-1:]}")
    if not eps >= 0:
        raise ValueError(f"batch_norm eps {eps}; expected a number >= 0, for example 1e-3")


class BatchNormTrain(Function):
    """y = gamma xhat + beta with xhat = (x - mean) / sqrt(var + eps), statistics of the batch.

    x is (..., C); all sums run over the M = x.size / C values of a channel, m and n count them:

        mean = (1/M) sum x_n     var = (1/M) sum (x_n - mean)^2     r = 1 / sqrt(var + eps)

    `mean` and `var` (the biased one) are `extra`: the layer keeps moving averages of them.

    Parameters. y is linear in both:  dL/dgamma = sum g_n xhat_n,  dL/dbeta = sum g_n.

    Input. Write h = gamma g = dL/dxhat. x_n moves every xhat_m = (x_m - mean) r, directly, through
    the mean and through r:

        d mean / d x_n = 1/M
        d var  / d x_n = (2/M) (x_n - mean)           (the mean's own share adds up to 0)
        d r    / d x_n = -(1/2) r^3 (2/M) (x_n - mean) = -(1/M) r^2 xhat_n
        d xhat_m / d x_n = r (delta_mn - 1/M) - (x_m - mean) (1/M) r^2 xhat_n
                         = r (delta_mn - 1/M - xhat_m xhat_n / M)

        dL/dx_n = sum_m h_m d xhat_m / d x_n
                = r (h_n - (1/M) sum_m h_m - (xhat_n / M) sum_m h_m xhat_m)
                = gamma r (g_n - dL/dbeta / M - xhat_n dL/dgamma / M)

    dL/dx is g without its mean and without its part along xhat: shifting or scaling all of a
    channel changes nothing, so those directions have no gradient. Saved are x and the statistics;
    xhat is cheaper to compute again than to store.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, gamma: Array, beta: Array, *, eps: float) -> Array:
        check_shapes(x, eps, gamma=gamma, beta=beta)
        if x.size < 2 * x.shape[-1] or x.size == 0:
            raise ValueError(
                f"batch norm in training needs two or more values a channel, got x {x.shape}; "
                "use a larger batch, or eval mode"
            )
        y, mean, var = ctx.kernel("batch_norm_train_forward")(x, gamma, beta, eps)
        ctx.save(x, gamma, mean, var, eps)
        ctx.extra = (mean, var)
        return y

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array, Array]:
        return ctx.kernel("batch_norm_train_backward")(g, *ctx.saved)


class BatchNormEval(Function):
    """y = gamma xhat + beta with xhat = (x - mean) / sqrt(var + eps), statistics given.

    mean and var are constants here, so y is affine in x:

        dL/dx = g gamma / sqrt(var + eps)     dL/dgamma = sum g xhat     dL/dbeta = sum g
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        gamma: Array,
        beta: Array,
        *,
        mean: Array,
        var: Array,
        eps: float,
    ) -> Array:
        mean, var = (ctx.xp.asarray(s, dtype=x.dtype) for s in (mean, var))
        check_shapes(x, eps, gamma=gamma, beta=beta, mean=mean, var=var)
        ctx.save(x, gamma, mean, var, eps)
        return ctx.kernel("batch_norm_eval_forward")(x, gamma, beta, mean, var, eps)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array, Array, Array]:
        return ctx.kernel("batch_norm_eval_backward")(g, *ctx.saved)


def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Array | None = None,
    var: Array | None = None,
    eps: float = 1e-3,
) -> tuple[Tensor, Array, Array]:
    """Bring every channel of `x` to mean `beta` and standard deviation `gamma`.

    Without `mean` and `var` by the statistics of this batch (training), with them by these
    (evaluation); both ways can be differentiated.

    Parameters
    ----------
    x : Tensor (..., C)
        In training with two or more values a channel.
    gamma, beta : Tensor (C,)
    mean, var : ndarray (C,), optional
        Moving statistics; give both or neither.
    eps : float
        Added to the variance; 1e-3 as in Keras.

    Returns
    -------
    y : Tensor (..., C)
    mean, var : ndarray (C,)
        The statistics that were used. `var` of a batch is the biased one, divided by M not M - 1.

    Raises
    ------
    ValueError
        If a shape doesn't fit, or a batch has a single value a channel.

    Examples
    --------
    >>> from minissr import Tensor
    >>> x, one, zero = Tensor([[1.0], [3.0]]), Tensor([1.0]), Tensor([0.0])
    >>> y, mean, var = batch_norm(x, one, zero, eps=0.0)
    >>> y.data.ravel(), mean, var
    (array([-1.,  1.], dtype=float32), array([2.], dtype=float32), array([1.], dtype=float32))
    """
    if (mean is None) != (var is None):
        raise ValueError("batch_norm got one of mean and var; give both (evaluation) or neither")
    if mean is None:
        y, (batch_mean, batch_var) = BatchNormTrain.apply_with_extra(x, gamma, beta, eps=eps)
        return y, batch_mean, batch_var
    return BatchNormEval.apply(x, gamma, beta, mean=mean, var=var, eps=eps), mean, var
