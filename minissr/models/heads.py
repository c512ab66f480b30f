"""How features become an age: fusion blocks, prediction blocks and the stagewise head.

A stage of SSR-Net looks at one feature map of each stream. Its fusion block (Yang et al. 2018,
Fig. 1b) makes both compact, and answers with p and eta, one number a bin, and delta, one a stage;
the answers of all stages become an age by soft stagewise regression (Eq. 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minissr import ops
from minissr.autograd.tensor import Tensor
from minissr.kernels.backend import array_module
from minissr.kernels.head.composed import ACTIVATIONS, Parameters
from minissr.nn.layers import POOLS, Conv2d, Dense, Dropout, activate
from minissr.nn.module import Module
from minissr.ops.activation import dropout_mask


class StageAnswer(NamedTuple):
    """What one stage says about N images.

    Attributes
    ----------
    p : Tensor (N, S)
        How much each of the S bins counts.
    eta : Tensor (N, S)
        The shift of each bin, in bins.
    delta : Tensor (N, 1)
        The stretch of the stage's number of bins.
    hidden : dict of str to Tensor (N, units)
        The outputs of the prediction block's layers, to see which units are dead.
    """

    p: Tensor
    eta: Tensor
    delta: Tensor
    hidden: dict[str, Tensor]


class PredictionBlock(Module, fusible=True):
    """From both streams' compact features to p and eta of one stage.

    A dense layer a stream, the product of the two, a shared layer (`mix`), then one layer for p
    and one for eta.

    Parameters
    ----------
    features_s, features_x : int
        Numbers going in; see FusionBlock.
    bins : int
        S; the streams' layers have S units each, `mix` has 2 S.
    activation_s, activation_x, activation_mix : str
        Of the three hidden layers; `activation_mix="none"` leaves `mix` out.
    activation_p : "relu" | "softmax" | ...
    first_bias : float
        What the biases of the streams' layers start from. About 0 the product of two layers has
        hardly a slope in either; away from it there is a straight way from features to answer.
    rate : float
        Factor on the learning rate of the streams' layers. Their many inputs are positive, so that
        the steps of a unit's weights, which an optimiser like Adam makes equally long, add up: at
        the full rate some units end, within an epoch, where no face moves them.
    rng : Generator

    Deviations: `mix` is in the authors' code, not in the paper's text or figure.
    """

    def __init__(
        self,
        features_s: int,
        features_x: int,
        bins: int,
        *,
        activation_s: str,
        activation_x: str,
        activation_mix: str,
        activation_p: str,
        first_bias: float,
        rate: float,
        rng: np.random.Generator,
    ) -> None:
        self.s = Dense(features_s, bins, first_bias=first_bias, rate=rate, rng=rng)
        self.x = Dense(features_x, bins, first_bias=first_bias, rate=rate, rng=rng)
        self.mix = None if activation_mix == "none" else Dense(bins, 2 * bins, rng=rng)
        mixed = bins if self.mix is None else 2 * bins
        self.p = Dense(mixed, bins, rng=rng)
        self.eta = Dense(mixed, bins, rng=rng)
        self.activation_s, self.activation_x = activation_s, activation_x
        self.activation_mix, self.activation_p = activation_mix, activation_p

    @property
    def activations(self) -> tuple[str, str, str, str]:
        """Those of s, x, mix and p."""
        return self.activation_s, self.activation_x, self.activation_mix, self.activation_p

    def forward(self, s: Tensor, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """s (N, features_s), x (N, features_x) -> p (N, S), eta (N, S), hidden layers by name."""
        hidden = {
            "s": activate(self.s(s), self.activation_s),
            "x": activate(self.x(x), self.activation_x),
        }
        mixed = hidden["s"] * hidden["x"]  # (N, S)
        if self.mix is not None:
            mixed = hidden["mix"] = activate(self.mix(mixed), self.activation_mix)  # (N, 2 S)
        return activate(self.p(mixed), self.activation_p), ops.tanh(self.eta(mixed)), hidden


class FusionBlock(Module, fusible=True):
    """One stage: compact both streams' maps, then delta and the prediction block.

    Parameters
    ----------
    size : int
        Height and width of both maps.
    channels_s, channels_x : int
    compact : int
        Channels of the 1x1 convolutions.
    pool : int
        Window and stride of the pooling after them (s: maximum, x: average); 1 is none. Rows and
        columns that don't fill a window are dropped.
    bins : int
        S of this stage.
    dropout : float
        Rate before the prediction block. delta is taken before it, as in the authors' code.
    rate : float
        Factor on the learning rate of all layers that read the features; see PredictionBlock.
    rng : Generator
    **prediction
        Activations and first bias of the PredictionBlock.
    """

    def __init__(
        self,
        size: int,
        channels_s: int,
        channels_x: int,
        *,
        compact: int,
        pool: int,
        bins: int,
        dropout: float,
        rate: float,
        rng: np.random.Generator,
        **prediction: Any,
    ) -> None:
        features = (size // pool) ** 2 * compact
        if features == 0:
            raise ValueError(
                f"a {size}x{size} feature map is too small for its {pool}x{pool} pooling; "
                "use larger images"
            )
        self.conv_s = Conv2d(channels_s, compact, 1, rng=rng)
        self.conv_x = Conv2d(channels_x, compact, 1, rng=rng)
        self.pool = pool
        self.delta = Dense(features, 1, rate=rate, rng=rng)
        self.dropout = Dropout(dropout)
        self.prediction = PredictionBlock(
            features, features, bins, rate=rate, rng=rng, **prediction
        )

    def forward(self, s: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> StageAnswer:
        """s (N, H, W, channels_s), x (N, H, W, channels_x) -> the stage's answer."""
        s, x = self.compact(self.conv_s, s, "max"), self.compact(self.conv_x, x, "avg")
        delta = ops.tanh(self.delta(s * x))  # (N, 1)
        p, eta, hidden = self.prediction(self.dropout(s, rng), self.dropout(x, rng))
        return StageAnswer(p, eta, delta, hidden)

    @property
    def set_as_fused(self) -> bool:
        convs, p = (self.conv_s, self.conv_x), self.prediction
        denses = [layer for layer in (self.delta, p.s, p.x, p.mix, p.p, p.eta) if layer is not None]
        return all(conv.plain and conv.w.shape[:2] == (1, 1) for conv in convs) and all(
            dense.b is not None for dense in denses
        )

    @property
    def layers(self) -> Parameters:
        """The parameters as the op for all stages together takes them."""
        p = self.prediction
        layers = (self.conv_s, self.conv_x, self.delta, p.s, p.x, p.mix, p.p, p.eta)
        pairs = ((layer.w, layer.b) if layer else (None, None) for layer in layers)
        return Parameters(*(tensor for pair in pairs for tensor in pair))

    def compact(self, conv: Conv2d, maps: Tensor, pool: str) -> Tensor:
        """maps (N, H, W, channels) -> (N, features): 1x1 convolution, ReLU, pooling."""
        if self.may_fuse:
            return ops.flatten(ops.fusion(maps, conv.w, conv.b, pool=pool, size=self.pool))
        maps = ops.relu(conv(maps))  # (N, H, W, compact)
        return ops.flatten(POOLS[pool](maps, self.pool) if self.pool > 1 else maps)


def joined_answers(
    stages: Sequence[FusionBlock],
    maps: Sequence[tuple[Tensor, Tensor]],
    rng: np.random.Generator | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What all stages say about their maps (s, x), joined; by one op where that knows how to."""
    if not may_answer_together(stages):
        each = zip(stages, maps, strict=True)
        return join_answers([stage(*pair, rng) for stage, pair in each])
    return ops.stage_answers(
        maps,
        [stage.layers for stage in stages],
        pools=[stage.pool for stage in stages],
        activations=stages[0].prediction.activations,
        masks=dropout_masks(stages, maps[0][0], rng),
    )


def may_answer_together(stages: Sequence[FusionBlock]) -> bool:
    """Whether one op computes these stages: alike, and softmax for p alone."""
    if not all(stage.may_fuse for stage in stages):
        return False
    kinds = {stage.prediction.activations for stage in stages}
    known = {*ACTIVATIONS, "none"}
    return len(kinds) == 1 and all(
        set(kind) <= known and "softmax" not in kind[:3] for kind in kinds
    )


def dropout_masks(
    stages: Sequence[FusionBlock], like: Tensor, rng: np.random.Generator | None
) -> list[Any] | None:
    """The masks (N, features) of s and x of every stage, in the order `Dropout` draws them.

    They are drawn on the CPU and moved to a device by one copy.
    """
    rates = [stage.dropout.active_rate(rng) for stage in stages]
    if not any(rates):
        return None
    shapes = [(like.shape[0], stage.delta.w.shape[0]) for stage in stages for _ in "sx"]
    masks = [
        # active_rate has refused a missing rng
        dropout_mask(shape, like.dtype, rates[i // 2], rng)  # type: ignore[arg-type]
        for i, shape in enumerate(shapes)
    ]
    flat = array_module(like.data).asarray(np.concatenate([mask.reshape(-1) for mask in masks]))
    ends = np.cumsum([mask.size for mask in masks]).tolist()
    return [
        flat[end - mask.size : end].reshape(mask.shape)
        for end, mask in zip(ends, masks, strict=True)
    ]


def join_answers(answers: Sequence[StageAnswer]) -> tuple[Tensor, Tensor, Tensor]:
    """All stages side by side: p and eta (N, s_1 + ... + s_K), delta (N, K)."""
    return (
        ops.concat([answer.p for answer in answers], axis=1),
        ops.concat([answer.eta for answer in answers], axis=1),
        ops.concat([answer.delta for answer in answers], axis=1),
    )


def slipped_regression(
    answers: Sequence[StageAnswer],
    *,
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> Tensor:
    """The stagewise formula as the first released weights were trained with it: (N, N) "ages".

    The authors' code of before May 2018 divided numerators of shape (N,) by denominators of shape
    (N, 1), and broadcasting made of that every pair of images r, c:

        age[r, c] = min_age + sum_k w_k(r) q_k(c)

    with w_k the width and q_k the bin index of `soft_stagewise_regression`. The diagonal holds the
    ages that were meant. Scored against the age of r, the index of image c has to suit all images
    of the batch, so the best it can be is a constant. For study only: composed of plain ops.

    Parameters
    ----------
    answers : sequence of StageAnswer
    min_age, max_age, c_delta, c_eta, floor
        As in `ops.soft_stagewise_regression`.

    Returns
    -------
    Tensor (N, N)
        Years.
    """
    width: Any
    ages: Any = min_age
    for width, index in stage_parts(answers, max_age - min_age, c_delta, c_eta, floor):
        ages = ages + width.reshape(-1, 1) * index.reshape(1, -1)  # (N, N)
    return ages


def coarse_ages(
    answers: Sequence[StageAnswer],
    *,
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> list[Tensor]:
    """What the coarser stages say by themselves: K - 1 Tensors (N,), in years.

    Stages 1 to k alone name a range of ages, from their sum on and one bin of stage k wide; taken
    is its middle:

        age_k = min_age + sum_{j <= k} w_j q_j + w_k / 2

    For study: a loss on them tells every stage directly what it is for. Composed of plain ops;
    parameters as in `slipped_regression`.
    """
    start: Any = min_age
    ages = []
    for width, index in stage_parts(answers[:-1], max_age - min_age, c_delta, c_eta, floor):
        start = start + width * index
        ages.append(start + width * 0.5)
    return ages


def stage_parts(
    answers: Sequence[StageAnswer], span: float, c_delta: float, c_eta: float, floor: float
) -> list[tuple[Tensor, Tensor]]:
    """Bin width w_k (N,), in years, and expected bin q_k (N,) of each stage, of plain ops."""
    limit = floor if floor > 0 else None
    parts = []
    width: Any = span
    for p, eta, delta, _ in answers:
        i = array_module(p.data).arange(p.shape[1], dtype=p.dtype)
        stretch = (delta * c_delta + 1.0).clip(limit, None)
        width = width / (stretch * float(p.shape[1])).reshape(-1)
        parts.append((width, (p * (eta * c_eta + i)).sum(axis=1)))
    return parts
