"""One block of a stream as one op: convolution, batch norm, activation, 2x2 pooling.

Composed from `conv2d`, `batch_norm`, `relu` or `tanh` and a pooling op the same block takes four
ops, and every one of them writes its result to memory and reads the last one's. As one op it
keeps only what its hand-derived backward needs. The two agree to rounding (a test compares them).

Deviations: the bias before a batch norm has no effect in training, so its gradient is exactly
zero here; in the composed form it is the rounding noise of a sum that ought to vanish.
"""

from __future__ import annotations

from typing import Any

from minissr.autograd.function import Array, Context, Function, contiguous
from minissr.kernels import lookup
from minissr.kernels.backend import backend_of

ACTIVATIONS = ("relu", "tanh")
POOLS = ("avg", "max", "none")


class Block(Function):
    """Convolution (stride 1, no padding), batch norm in training, activation, 2x2 pooling.

        z = x * w + bias            convolution; m values a channel, over images and pixels
        n = (z - mean) / sigma      mean and sigma^2 = var + eps of the batch, a channel each
        u = gamma n + beta
        a = relu(u) or tanh(u)
        y = average or maximum of a over 2x2 windows

    **Derivation.** From the result back, g_v = dL/dv:

        g_a     = gy / 4 in all four of an average's places; gy at a maximum's first place, else 0;
                  0 in an odd last row or column, which no window reads
        g_u     = g_a [u > 0] for relu, g_a (1 - a^2) for tanh
        g_beta  = sum g_u,  g_gamma = sum g_u n                       over the m values
        g_z     = (gamma / sigma) (g_u - g_beta / m - n g_gamma / m)

    The two subtracted terms are the ways mean and sigma depend on every z (see `BatchNorm`). They
    make the m values of g_z sum to zero, so the bias, which is added to all of them, gets exactly
    g_bias = sum g_z = 0. w and x get theirs from g_z as in `Conv2d`.

    Relu and tanh rise, so the maximum of a is the activation of the maximum of u, and one value a
    window is enough to go back: the fused kernels keep that, and masks, instead of every a.
    """

    accepts_integers = True  # the first block reads pixels
    new_grads = True

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        w: Array,
        bias: Array,
        gamma: Array,
        beta: Array,
        *,
        eps: float,
        activation: str,
        pool: str,
    ) -> Array:
        check_block(x, w, activation, pool)
        settings = (eps, activation, pool)
        y, mean, var, saved = ctx.kernel("block_forward")(x, w, bias, gamma, beta, *settings)
        ctx.extra = mean, var
        ctx.save(x, w, gamma, beta, settings, mean, var, saved)
        return y

    @staticmethod
    def backward(ctx: Context, gy: Array) -> tuple[Array | None, ...]:
        x, w, gamma, beta, settings, mean, var, saved = ctx.saved
        return ctx.kernel("block_backward")(
            gy, x, w, gamma, beta, *settings, mean, var, saved, ctx.needs_grad[0], ctx.onto
        )


def check_block(x: Array, w: Array, activation: str, pool: str) -> None:
    """Refuse, in one sentence, what the kernels can't compute."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
    if pool not in POOLS:
        raise ValueError(f"pool {pool!r} is none of {', '.join(POOLS)}")
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"images {x.shape} and weights {w.shape} don't fit; "
            "expected (N, H, W, C) and (KH, KW, C, CO)"
        )
    smallest = 1 if pool == "none" else 2
    out = x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1
    if min(out) < smallest or x.shape[0] == 0:
        raise ValueError(
            f"images {x.shape} are too small for weights {w.shape} and pool {pool!r}; "
            f"the convolution's output must be {smallest}x{smallest} or more, the batch not empty"
        )


class Stem(Function):
    """The first block of both streams over the same pixels: ReLU and average, tanh and maximum.

    Two `Block`s with one x. Nobody asks for the gradient of pixels, so each stream's parameters
    get theirs from its own map's gradient alone, by the derivation of `Block`; what is shared is
    the reading of the pixels, forward and backward.
    """

    accepts_integers = True

    @staticmethod
    def forward(
        ctx: Context,
        images: Array,
        *parameters: Array,
        unit: float,
        offset: float,
        eps: float,
    ) -> tuple[Array, Array]:
        check_block(images, parameters[0], "relu", "avg")
        check_block(images, parameters[4], "tanh", "max")
        kernel = ctx.kernel("stem_forward")
        outputs, *statistics, saved = kernel(images, unit, offset, eps, *parameters)
        ctx.extra = tuple(statistics)
        ctx.save(images, unit, offset, eps, saved, parameters, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Context, *gys: Array | None) -> tuple[Array | None, ...]:
        images, unit, offset, eps, saved, parameters, outputs = ctx.saved
        given = [
            ctx.xp.zeros_like(y) if g is None else g for g, y in zip(gys, outputs, strict=True)
        ]
        relu, tanh = ctx.kernel("stem_backward")(*given, images, unit, offset, eps, saved)
        grads: list[Array | None] = [None]  # pixels have no gradient
        for bias, (gw, g_gamma, g_beta) in ((parameters[1], relu), (parameters[5], tanh)):
            grads += [gw, ctx.xp.zeros_like(bias), g_gamma, g_beta]
        return tuple(grads)


def stem(
    images: Any,
    relu_parameters: tuple[Any, Any, Any, Any],
    tanh_parameters: tuple[Any, Any, Any, Any],
    *,
    unit: float = 1.0,
    offset: float = 0.0,
    eps: float = 1e-3,
) -> tuple[tuple[Any, Any], tuple[Array, Array], tuple[Array, Array]]:
    """The first block of both streams in one pass over the pixels.

    Equal to two calls of `stream_block` on `images * unit + offset`, ReLU with average pooling and
    tanh with max pooling, but the convolutions' outputs, the largest arrays of the network, are
    never stored.

    Parameters
    ----------
    images : Tensor (N, H, W, C), uint8
    relu_parameters, tanh_parameters : tuple of Tensor
        w (KH, KW, C, CO), bias, gamma, beta (CO,).
    unit, offset : float
        The network's number for a pixel is pixel unit + offset.
    eps : float
        Added to the variances.

    Returns
    -------
    y : (Tensor, Tensor), each (N, OH, OW, CO)
    relu_statistics, tanh_statistics : (mean, var), ndarray (CO,)
        Of the convolutions' outputs over this batch, for the moving statistics.
    """
    settings = {"unit": unit, "offset": offset, "eps": eps}
    outputs, (relu, tanh) = Stem.apply_with_extra(
        images, *relu_parameters, *tanh_parameters, **settings
    )
    return outputs, relu, tanh


def stream_block(
    x: Any,
    w: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    *,
    eps: float = 1e-3,
    activation: str = "relu",
    pool: str = "avg",
) -> tuple[Any, Array, Array]:
    """One block of a stream, normalised by the statistics of this batch.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
        Float, or uint8 pixels (the first block).
    w : Tensor (KH, KW, C, CO)
    bias, gamma, beta : Tensor (CO,)
    eps : float
        Added to the variance.
    activation : "relu" | "tanh"
    pool : "avg" | "max" | "none"
        2x2 windows, stride 2; an odd last row or column is dropped.

    Returns
    -------
    y : Tensor (N, OH, OW, CO)
    mean, var : ndarray (CO,)
        Mean and biased variance of the convolution's output, for the moving statistics.
    """
    y, (mean, var) = Block.apply_with_extra(
        x, w, bias, gamma, beta, eps=eps, activation=activation, pool=pool
    )
    return y, mean, var


def stream_block_answer(
    x: Any,
    w: Any,
    bias: Any,
    gamma: Any,
    beta: Any,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-3,
    activation: str = "relu",
    pool: str = "avg",
) -> Any:
    """One block of a stream, normalised by given statistics, without a gradient.

    Batch norm is then an affine map a channel, and a kernel folds it, activation and pooling into
    the convolution. Layers use this inside `no_grad`, and the four ops elsewhere.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
        Float, or uint8 pixels.
    w : Tensor (KH, KW, C, CO)
    bias, gamma, beta : Tensor (CO,)
    mean, var : ndarray (CO,)
        Moving statistics of the convolution's output.
    eps : float
        Added to the variance.
    activation : "relu" | "tanh"
    pool : "avg" | "max" | "none"

    Returns
    -------
    Tensor (N, OH, OW, CO)
    """
    arrays = [x.data, w.data, bias.data, gamma.data, beta.data, mean, var]
    backend = backend_of("stream_block_answer", arrays)
    check_block(x.data, w.data, activation, pool)
    kernel = lookup("block_eval_forward", backend)
    return type(x).from_op(kernel(*map(contiguous, arrays), eps, activation, pool), None, 0)
