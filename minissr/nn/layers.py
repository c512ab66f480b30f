"""The layers SSR-Net and its rivals are built from.

Feature maps are NHWC, convolution weights HWIO, dense weights (in, out). Sizes are given, nothing
is inferred from the first batch, and the random generator that draws the weights is explicit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minissr import ops
from minissr.autograd.function import Array, is_recording
from minissr.autograd.tensor import Tensor
from minissr.kernels import lookup
from minissr.kernels.backend import backend_of
from minissr.nn.init import Initializer, glorot_uniform
from minissr.nn.module import Module, Parameter

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": lambda x: ops.relu(x),
    "leaky_relu": lambda x: ops.leaky_relu(x),
    "relu6": lambda x: ops.relu6(x),
    "softplus": lambda x: ops.softplus(x),
    "softmax": lambda x: ops.softmax(x),
    "normalized": lambda x: normalized(ops.softplus(x)),
    "tanh": lambda x: ops.tanh(x),
}
POOLS: dict[str, Callable[[Any, int], Any]] = {
    "avg": lambda x, size: ops.avg_pool(x, size),
    "max": lambda x, size: ops.max_pool(x, size),
}


def activate(x: Tensor, name: str) -> Tensor:
    """The activation `name` of `x`, element by element (softmax, normalized: over the last axis).

    "normalized" is softplus divided by its sum: a distribution too, but one whose odds don't grow
    exponentially with the inputs.
    """
    return choice("activation", name, ACTIVATIONS)(x)


def normalized(x: Tensor) -> Tensor:
    """Positive numbers divided by their sum over the last axis."""
    return x / x.sum(axis=-1, keepdims=True)


def choice(what: str, name: str, table: dict[str, Any]) -> Any:
    """`table[name]`, or a sentence that lists what there is."""
    if name not in table:
        raise ValueError(f"{what} {name!r} is none of {', '.join(table)}")
    return table[name]


class Conv2d(Module, fusible=True):
    """Convolution: slide a (KH, KW) window over the image and take a weighted sum.

    Parameters
    ----------
    channels, filters : int
        Channels going in and coming out.
    size : int or (int, int)
        KH, KW of the window.
    rng : Generator
    stride, padding, groups
        As `ops.conv2d` takes them.
    bias : bool
    init : callable (shape, rng) -> array

    Attributes
    ----------
    w : Parameter (KH, KW, channels / groups, filters)
    b : Parameter (filters,) or None
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        size: int | tuple[int, int],
        *,
        rng: np.random.Generator,
        stride: int | tuple[int, int] = 1,
        padding: Any = "valid",
        groups: int = 1,
        bias: bool = True,
        init: Initializer = glorot_uniform,
    ) -> None:
        window = (size, size) if isinstance(size, int) else size
        self.w = Parameter(init((*window, channels // groups, filters), rng))
        self.b = Parameter(np.zeros(filters, np.float32)) if bias else None
        self.stride, self.padding, self.groups = stride, padding, groups

    @property
    def plain(self) -> bool:
        """Whether it is what blocks fuse: stride 1, no padding, one group, with a bias."""
        settings = self.stride, self.padding, self.groups
        return settings in ((1, "valid", 1), ((1, 1), "valid", 1)) and self.b is not None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels) -> (N, OH, OW, filters)."""
        return ops.conv2d(
            x, self.w, self.b, stride=self.stride, padding=self.padding, groups=self.groups
        )

    def macs(self, output_shape: Sequence[int]) -> int:
        """Multiply-adds for one image, given the output's (N, OH, OW, filters)."""
        return math.prod(output_shape[1:3]) * self.w.size


class DepthwiseConv2d(Conv2d):
    """A convolution of each channel by itself, one window a channel.

    Attributes
    ----------
    w : Parameter (KH, KW, 1, channels)

    Notes
    -----
    Keras holds the weight as (KH, KW, channels, 1) and takes the fans of that shape, KH KW channels
    and KH KW; the weights start as they do there.
    """

    def __init__(
        self, channels: int, size: int, *, rng: np.random.Generator, **settings: Any
    ) -> None:
        init = settings.pop("init", glorot_uniform)
        super().__init__(
            channels,
            channels,
            size,
            rng=rng,
            groups=channels,
            init=lambda shape, rng: (
                init((*shape[:2], channels, 1), rng).transpose(0, 1, 3, 2).copy()
            ),
            **settings,
        )


class Dense(Module, fusible=True):
    """A fully connected layer.

    Parameters
    ----------
    features, units : int
        Numbers going in and coming out.
    rng : Generator
    bias : bool
    first_bias : float
        What the bias starts from.
    rate : float
        Factor on the learning rate of the weights.
    init : callable (shape, rng) -> array

    Attributes
    ----------
    w : Parameter (features, units)
    b : Parameter (units,) or None
    """

    def __init__(
        self,
        features: int,
        units: int,
        *,
        rng: np.random.Generator,
        bias: bool = True,
        first_bias: float = 0.0,
        rate: float = 1.0,
        init: Initializer = glorot_uniform,
    ) -> None:
        self.w = Parameter(init((features, units), rng), rate=rate)
        self.b = Parameter(np.full(units, first_bias, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (N, features) -> (N, units)."""
        return ops.dense(x, self.w, self.b)

    def macs(self, output_shape: Sequence[int]) -> int:
        """Multiply-adds for one image."""
        return self.w.size


class BatchNorm(Module, fusible=True):
    """Batch normalisation over the last axis (Ioffe & Szegedy 2015).

    In training the statistics are the batch's, and the moving ones follow them:
    moving = momentum moving + (1 - momentum) batch. In evaluation they are the moving ones.

    Parameters
    ----------
    channels : int
    momentum : float
        How much of the moving statistics is kept at each step. (PyTorch calls 1 - this momentum.)
    eps : float
        Added to the variance.
    unbiased : bool
        Follow the variance times n / (n - 1), n values a channel, as PyTorch and the Keras of 2018
        do; otherwise the biased one, as today's Keras does. Training itself is the same.

    Attributes
    ----------
    gamma, beta : Parameter (channels,)
    moving_mean, moving_variance : buffer (channels,)
    """

    moving_mean: Array
    moving_variance: Array

    def __init__(
        self, channels: int, momentum: float = 0.99, eps: float = 1e-3, unbiased: bool = False
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum {momentum}; expected 0 <= momentum < 1")
        self.gamma = Parameter(np.ones(channels, np.float32))
        self.beta = Parameter(np.zeros(channels, np.float32))
        self.add_buffer("moving_mean", np.zeros(channels, np.float32))
        self.add_buffer("moving_variance", np.ones(channels, np.float32))
        self.momentum, self.eps, self.unbiased = momentum, eps, unbiased

    def forward(self, x: Tensor) -> Tensor:
        """x (..., channels) -> the same shape."""
        if not self.training:
            moving = self.moving_mean, self.moving_variance
            return ops.batch_norm(x, self.gamma, self.beta, *moving, eps=self.eps)[0]
        check_batch(x)
        y, mean, variance = ops.batch_norm(x, self.gamma, self.beta, eps=self.eps)
        self.follow(mean, variance, x.size // x.shape[-1])
        return y

    def follow(self, mean: Array, variance: Array, count: int) -> None:
        """Let the moving statistics follow those of a batch with `count` values a channel."""
        follow([Statistics(self, mean, variance, count)])


class Statistics(NamedTuple):
    """What a batch norm saw in a batch: mean and biased variance (channels,) of some values."""

    norm: BatchNorm
    mean: Array
    variance: Array
    values: int


def follow(seen: Sequence[Statistics]) -> None:
    """Let the moving statistics of several layers follow those of a batch, by one kernel."""
    moving = [(s.norm.moving_mean, s.norm.moving_variance) for s in seen]
    kernel = lookup("batch_norm_follow", backend_of("BatchNorm", [mean for mean, _ in moving]))
    kernel(
        moving,
        [(s.mean, s.variance) for s in seen],
        [1 - s.norm.momentum for s in seen],
        [s.values / (s.values - 1) if s.norm.unbiased else 1.0 for s in seen],
    )


def check_batch(x: Tensor) -> None:
    """Refuse to train batch norm on a single image: it would only learn that image's contrast."""
    if x.shape[0] < 2:
        raise ValueError(
            f"batch norm can't train on a batch of {x.shape[0]}; "
            "use a batch size of 2 or more, or model.eval()"
        )


class Dropout(Module, fusible=True):
    """In training, zero each number with probability `rate` and divide the rest by 1 - rate."""

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout {rate}; expected 0 <= rate < 1")
        self.rate = rate

    def forward(self, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """x of any shape; `rng` draws the mask and is required in training unless rate is 0."""
        if not self.active_rate(rng) or rng is None:
            return x
        return ops.dropout(x, self.rate, rng)

    def active_rate(self, rng: np.random.Generator | None) -> float:
        """The rate here and now, 0 in evaluation; refuses to drop out without a generator."""
        if not self.training or self.rate == 0:
            return 0.0
        if rng is None:
            raise ValueError("dropout in training needs rng=Generator; or call model.eval()")
        return self.rate


class StreamBlock(Module, fusible=True):
    """One block of a stream: convolution, batch norm, activation, pooling (Yang et al. 2018, 3.4).

    Parameters
    ----------
    channels, filters : int
    activation : "relu" | "tanh" | ...
    pool : "avg" | "max" | "none"
        2x2 windows, stride 2; an odd last row or column is dropped.
    rng : Generator
    size : int
        Of the convolution's window; stride 1, no padding.
    momentum : float
        Of the batch norm.
    fused : bool
        Compute with one op instead of four, in training and, where nothing is differentiated, in
        evaluation; the results agree to rounding.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        activation: str,
        pool: str,
        *,
        rng: np.random.Generator,
        size: int = 3,
        momentum: float = 0.99,
        fused: bool = True,
    ) -> None:
        choice("activation", activation, ACTIVATIONS)
        choice("pool", pool, {**POOLS, "none": None})
        self.conv = Conv2d(channels, filters, size, rng=rng)
        self.norm = BatchNorm(filters, momentum)
        self.activation, self.pool = activation, pool
        self.fused = fused

    @property
    def set_as_fused(self) -> bool:
        return self.activation in ("relu", "tanh") and self.conv.plain

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels), float or uint8 -> (N, OH, OW, filters)."""
        if self.may_fuse and self.training:
            y, seen = self.train_forward(x)
            follow([seen])
            return y
        if self.may_fuse and not is_recording():
            return self.eval_forward(x)
        if x.dtype.kind != "f":
            x = x.astype(self.conv.w.dtype)
        x = activate(self.norm(self.conv(x)), self.activation)
        return x if self.pool == "none" else POOLS[self.pool](x, 2)

    def train_forward(self, x: Tensor) -> tuple[Tensor, Statistics]:
        """The same in training as one op, and what the norm shall follow."""
        check_batch(x)
        conv, norm = self.conv, self.norm
        y, mean, variance = ops.stream_block(
            x,
            conv.w,
            conv.b,
            norm.gamma,
            norm.beta,
            eps=norm.eps,
            activation=self.activation,
            pool=self.pool,
        )
        return y, Statistics(norm, mean, variance, values_a_channel(x, conv))

    def eval_forward(self, x: Tensor) -> Tensor:
        """The same in evaluation as one op, for answers only: it has no gradient."""
        conv, norm = self.conv, self.norm
        return ops.stream_block_answer(
            x,
            conv.w,
            conv.b,
            norm.gamma,
            norm.beta,
            norm.moving_mean,
            norm.moving_variance,
            eps=norm.eps,
            activation=self.activation,
            pool=self.pool,
        )


def values_a_channel(x: Tensor, conv: Conv2d) -> int:
    """Of the convolution of x without padding: images times pixels."""
    kh, kw = conv.w.shape[:2]
    return x.shape[0] * (x.shape[1] - kh + 1) * (x.shape[2] - kw + 1)


def stem(
    s: StreamBlock, x: StreamBlock, images: Tensor
) -> tuple[tuple[Tensor, Tensor], list[Statistics]]:
    """The first blocks of both streams on uint8 `images`, in training, as the one op `ops.stem`.

    `s` is tanh with maximum, `x` ReLU with average pooling; returns their maps (s, x), and what
    their norms shall follow.
    """
    check_batch(images)
    parameters = [(b.conv.w, b.conv.b, b.norm.gamma, b.norm.beta) for b in (x, s)]
    maps, of_x, of_s = ops.stem(images, *parameters, eps=x.norm.eps)
    values = values_a_channel(images, x.conv)
    seen = [
        Statistics(block.norm, mean, variance, values)
        for block, (mean, variance) in ((x, of_x), (s, of_s))
    ]
    return (maps[1], maps[0]), seen
