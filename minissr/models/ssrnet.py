"""SSR-Net (Yang et al. 2018): two small streams, a few stages, an age.

    images -- stream s: 4 x [conv 3x3, batch norm, tanh, max pool]  -- maps of levels 1 to 4
           '- stream x: 4 x [conv 3x3, batch norm, relu, avg pool]  -- maps of levels 1 to 4

    stage 1 looks at level 4, the deepest; the finer a stage, the shallower the level it looks at.

Levels of 64x64 images are 31, 14, 6 and 4 pixels wide. Three stages leave out level 3, as the
authors do; two leave out level 1 too, and one stage looks at level 4 alone.

Deviations
----------
`released` is the authors' graph at its last commit: no pooling after block 4; fusion pools of 1, 4
and 8 pixels, so that rows and columns 12 and 13 of level 2, 24 to 30 of level 1 are never seen; a
shared layer in the prediction block; dropout 0.2 before it. It loads their weights. One thing is
added: the floor of the stagewise formula (0 switches it off).

`paper` follows the text and Figure 1 where they differ: block 4 ends in a pool; every fusion block
pools 2x2 ("the size of pooling is fixed at 2x2 for all stages"); p and eta come from the product of
the prediction blocks directly; no dropout, which the text doesn't mention. Where neither text nor
figure decides, it is as released: which level feeds which stage, 10 compact channels, ReLU after
the 1x1 convolutions, as many units in a prediction block as the stage has bins, V = 101.

`minissr`, the default, is ours: the released graph with what keeps all stages alive (see
`training.health`), chosen by training on real faces.

- p is a softmax: a distribution, as the text has it, and never all zeros.
- Softplus before the product of the prediction blocks. A product of two ReLUs, one of them 0 for
  every face, gets no gradient any more; the released weights have such a product in all stages but
  one. A tanh there ends at -1 or 1 for every face within an epoch, and was 0.2 years worse after 90
  epochs.
- A tenth of the learning rate for the layers that read the features. These are many and positive,
  so that the steps of a unit's weights add up: at the full rate three of nine stages fell silent in
  three seeds, at a tenth one, barely. Short trainings learn a little less by it.
- tanh after the product keeps what comes to p within bounds: else a softmax ends in one corner.
- The biases before the product start at 1: it then has a slope in both factors.
- lambda_d = 0.5. delta has the shorter way from the features to the age and otherwise does the
  work of p and eta; and stretches stay between 0.5 and 1.5, far from the pole at 0.
- No dropout. It sits on the way to p and eta alone, and a stage that falls silent escapes it.
- Moving statistics with momentum 0.95: at 0.99 they lag behind a network that learns fast, and
  validation after a hundred steps measures the lag.

The authors' names of the weights are in `keras_layouts`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr import ops
from minissr.autograd.function import Array, no_grad
from minissr.autograd.tensor import Tensor
from minissr.kernels.backend import array_module
from minissr.models.criterion import MAE, Criterion
from minissr.models.heads import (
    FusionBlock,
    StageAnswer,
    coarse_ages,
    join_answers,
    joined_answers,
    slipped_regression,
)
from minissr.models.streams import BLOCKS, TwoStreams
from minissr.nn.layers import ACTIVATIONS, choice
from minissr.nn.module import Module, composed
from minissr.ops.stagewise import SoftStagewiseRegression
from minissr.ops.stagewise import check_settings as check_formula

# Which levels are looked at unless told otherwise, coarsest stage first, by the number of stages.
LEVELS = {1: (4,), 2: (4, 2), 3: (4, 2, 1), 4: (4, 3, 2, 1)}


@dataclass(frozen=True)
class Settings:
    """Everything that makes one SSR-Net differ from another; plain JSON values.

    Attributes
    ----------
    stages : tuple of int
        Number of bins of each stage, coarse to fine.
    levels : tuple of int or None
        Which level of the streams each stage looks at, coarse to fine; None is those of `LEVELS`.
    min_age, max_age : float
        The range of ages that is divided, in years.
    lambda_d, lambda_local : float
        How much of delta and eta is used, 0 to 1.
    floor : float
        Smallest stretch of a stage; 0 is none. See `ops.soft_stagewise_regression`.
    dropout : float
    momentum : float
        Of the batch norms' moving statistics.
    slip : bool
        Train with the broadcasting slip of the first released weights (for study).
    stage_loss : float
        Weight of a loss on what the coarser stages say by themselves (for study); see
        `coarse_ages`.
    streams : "two" | "alike" | "one"
        See TwoStreams.
    activation_p, activation_s, activation_x, activation_mix : str
        Of the prediction blocks; see PredictionBlock.
    first_bias : float
        What the biases of the prediction blocks' first layers start from.
    head_rate : float
        Factor on the learning rate of the dense layers that read the features; see PredictionBlock.
    pool_last : bool
        Whether block 4 of the streams pools.
    fusion_pool : "fit" | "2x2"
        "fit" pools level l by 2^(4 - l), so that all stages see about 3x3 pixels.
    image_size : int
        Height and width of the images.
    filters_s, filters_x, compact : int
        Channels of the streams and of the fusion blocks.
    """

    stages: tuple[int, ...] = (3, 3, 3)
    levels: tuple[int, ...] | None = None
    min_age: float = 0.0
    max_age: float = 101.0
    lambda_d: float = 1.0
    lambda_local: float = 1.0
    floor: float = 1e-3
    dropout: float = 0.2
    momentum: float = 0.99
    slip: bool = False
    stage_loss: float = 0.0
    streams: str = "two"
    activation_p: str = "relu"
    activation_s: str = "relu"
    activation_x: str = "relu"
    activation_mix: str = "relu"
    first_bias: float = 0.0
    head_rate: float = 1.0
    pool_last: bool = False
    fusion_pool: str = "fit"
    image_size: int = 64
    filters_s: int = 16
    filters_x: int = 32
    compact: int = 10


VARIANTS = {
    "minissr": Settings(
        lambda_d=0.5,
        dropout=0.0,
        momentum=0.95,
        activation_p="softmax",
        activation_s="softplus",
        activation_x="softplus",
        activation_mix="tanh",
        first_bias=1.0,
        head_rate=0.1,
    ),
    "paper": Settings(dropout=0.0, activation_mix="none", pool_last=True, fusion_pool="2x2"),
    "released": Settings(),
}


def resolve(variant: str, changes: dict[str, Any]) -> Settings:
    """The settings of a variant with some changed; one sentence for any that can't be."""
    base = choice("variant", variant, VARIANTS)
    names = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in names:
            raise ValueError(f"ssrnet has no setting {name!r}; there are {', '.join(names)}")
    settings = dataclasses.replace(base, **changes)
    check_settings(settings)
    stages, levels = tuple(settings.stages), settings.levels
    another = "levels" not in changes and len(stages) != len(base.stages)
    if levels is None or another:  # a variant's levels are for as many stages as it has
        levels = LEVELS[len(stages)]
    check_levels(levels, len(stages))
    return dataclasses.replace(settings, stages=stages, levels=tuple(levels))


def check_levels(levels: tuple[int, ...], stages: int) -> None:
    """Refuse anything but one level for each of the stages, none deeper than the one before."""
    whole = isinstance(levels, list | tuple) and all(type(each) is int for each in levels)
    if (
        not whole
        or len(levels) != stages
        or sorted(levels, reverse=True) != list(levels)
        or not all(1 <= each <= BLOCKS for each in levels)
    ):
        raise ValueError(
            f"levels {levels}; expected one from {BLOCKS} to 1 for each of {stages} stages, none "
            "deeper than the one before, as in 4,2,1"
        )


def check_settings(settings: Settings) -> None:
    """Refuse values no network can be built from; the ops check ages, lambdas and floor."""
    stages = settings.stages
    whole = isinstance(stages, list | tuple) and all(isinstance(s, int) and s > 0 for s in stages)
    if not whole or len(stages) not in LEVELS:
        raise ValueError(
            f"stages {stages}; expected 1 to {max(LEVELS)} whole numbers of bins above 0, as in "
            "3,3,3 (a stage for each level of features)"
        )
    for name in ("image_size", "filters_s", "filters_x", "compact"):
        value = getattr(settings, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} {value!r}; expected a whole number above 0")
    for name in ("activation_p", "activation_s", "activation_x"):
        choice(name, getattr(settings, name), ACTIVATIONS)
    choice("activation_mix", settings.activation_mix, {**ACTIVATIONS, "none": None})
    if settings.slip and settings.stage_loss:
        raise ValueError("slip and stage_loss exclude each other; set stage_loss to 0")
    if not 0 < settings.head_rate < float("inf"):
        raise ValueError(f"head_rate {settings.head_rate}; expected a number above 0")
    if not 0 <= settings.stage_loss < float("inf"):
        raise ValueError(f"stage_loss {settings.stage_loss}; expected a number from 0 up")
    choice("fusion_pool", settings.fusion_pool, {"fit": None, "2x2": None})
    check_formula(
        settings.min_age,
        settings.max_age,
        settings.lambda_d,
        settings.lambda_local,
        settings.floor,
    )


class SSRNet(Module, fusible=True):
    """Age from a face by soft stagewise regression.

    Parameters
    ----------
    variant : "minissr" | "paper" | "released"
        Where the settings start from; see the module's text.
    rng : Generator, optional
        Draws the initial weights; by default with seed 0.
    **changes
        Any of `Settings`.

    Raises
    ------
    ValueError
        If a setting is unknown or makes no sense, in one sentence.

    Examples
    --------
    >>> SSRNet(variant="released").parameter_count()
    40915
    """

    def __init__(
        self, variant: str = "minissr", *, rng: np.random.Generator | None = None, **changes: Any
    ) -> None:
        self.variant = variant
        self.settings = resolve(variant, changes)
        rng = np.random.default_rng(0) if rng is None else rng
        self.streams = TwoStreams(
            self.settings.image_size,
            kind=self.settings.streams,
            filters_s=self.settings.filters_s,
            filters_x=self.settings.filters_x,
            pool_last=self.settings.pool_last,
            momentum=self.settings.momentum,
            rng=rng,
        )
        assert self.settings.levels is not None  # resolved
        self.levels = self.settings.levels
        self.stages = [
            self.build_stage(bins, level, rng)
            for bins, level in zip(self.settings.stages, self.levels, strict=True)
        ]

    def build_stage(self, bins: int, level: int, rng: np.random.Generator) -> FusionBlock:
        """The fusion block for `bins` bins that looks at `level`."""
        chosen = self.settings
        return FusionBlock(
            self.streams.sizes[level - 1],
            self.streams.channels_s,
            self.streams.channels_x,
            compact=chosen.compact,
            pool=2 if chosen.fusion_pool == "2x2" else 2 ** (BLOCKS - level),
            bins=bins,
            dropout=chosen.dropout,
            rate=chosen.head_rate,
            activation_p=chosen.activation_p,
            activation_s=chosen.activation_s,
            activation_x=chosen.activation_x,
            activation_mix=chosen.activation_mix,
            first_bias=chosen.first_bias,
            rng=rng,
        )

    def config(self) -> dict[str, Any]:
        """Plain values from which `registry.build(**config)` makes this network again."""
        settings = dataclasses.asdict(self.settings)
        return {
            "name": "ssrnet",
            "variant": self.variant,
            **settings,
            "stages": list(self.settings.stages),
            "levels": list(self.levels),
        }

    # ---- computing ----------------------------------------------------------------------------

    def forward(self, images: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Ages in years, (N,), not clamped.

        Parameters
        ----------
        images : Tensor or ndarray (N, H, W, 3)
            Pixels as the checkpoint's preprocessing says; uint8 or float.
        rng : Generator
            Draws the dropout masks; required in training where the rate isn't 0.
        """
        return self.regress(*joined_answers(self.stages, self.maps(images), rng))

    def maps(self, images: Any) -> list[tuple[Tensor, Tensor]]:
        """For each stage, coarsest first, the maps (s, x) of the level it looks at."""
        weights = next(self.parameters()).data
        every = self.streams(as_images(images, self.settings.image_size, weights))
        return [every[level - 1] for level in self.levels]

    def answers(self, images: Any, rng: np.random.Generator | None = None) -> list[StageAnswer]:
        """What each stage says about the images, coarsest first."""
        maps = self.maps(images)
        return [stage(*pair, rng) for stage, pair in zip(self.stages, maps, strict=True)]

    def regress(self, p: Tensor, eta: Tensor, delta: Tensor) -> Tensor:
        """The joined answers of all stages as ages in years, (N,)."""
        return ops.soft_stagewise_regression(
            p, eta, delta, stages=self.settings.stages, **self.formula()
        )

    def formula(self) -> dict[str, float]:
        """The constants of the stagewise formula, as the op calls them."""
        chosen = self.settings
        return {
            "min_age": chosen.min_age,
            "max_age": chosen.max_age,
            "c_delta": chosen.lambda_d,
            "c_eta": chosen.lambda_local,
            "floor": chosen.floor,
        }

    def loss(
        self,
        images: Any,
        ages: Any,
        rng: np.random.Generator | None = None,
        criterion: Criterion = MAE,
    ) -> tuple[Tensor, Tensor]:
        """What to train on, by default the mean absolute error, and the ages (N,).

        With the setting `slip`, row r of the (N, N) ages of `slipped_regression` is scored
        against the age of r, as in the first released weights' training. With `stage_loss`, the
        errors of `coarse_ages` are added, their mean weighted by it.
        """
        chosen = self.settings
        if criterion.loss == "distribution":
            criterion.check(self.config())
            joined = joined_answers(self.stages, self.maps(images), rng)
            predicted = self.regress(*joined)
            variance = ops.stagewise_variance(*joined, stages=chosen.stages, **self.formula())
            doubt = criterion.of_variance(predicted, variance, ages)
            return criterion.of_ages(predicted, ages) + doubt, predicted
        if not (chosen.slip or chosen.stage_loss):
            predicted = self(images, rng)
            return criterion.of_ages(predicted, ages), predicted
        answers = self.answers(images, rng)
        predicted = self.regress(*join_answers(answers))
        if chosen.slip:
            every = slipped_regression(answers, **self.formula())
            xp = array_module(predicted.data)
            rows = xp.broadcast_to(xp.asarray(ages)[:, None], every.shape)
            return criterion.of_ages(every, rows), predicted
        loss = criterion.of_ages(predicted, ages)
        coarse = coarse_ages(answers, **self.formula())
        for age in coarse:
            loss = loss + criterion.of_ages(age, ages) * (chosen.stage_loss / len(coarse))
        return loss, predicted

    def explain(self, images: Any) -> dict[str, Any]:
        """How each stage contributes to the ages, in evaluation mode.

        Parameters
        ----------
        images : ndarray (N, H, W, 3)

        Returns
        -------
        dict
            `age` (N,) in years, and `stages`, a list with a dict of arrays for each:
            `p`, `eta` (N, S); `delta` (N,); `width` (N,) of a bin, years; `index` (N,), the
            expected bin; `contribution` (N,) = width times index, years, which with `min_age` add
            up to the age; `edges` (N, S, 2), where each shifted bin starts and ends on the axis of
            ages, years, counted from the sum of the coarser stages; `hidden`, the prediction
            block's layers by name, (N, units).
        """
        training = self.training
        self.eval()
        try:
            with no_grad(), composed():
                answers = self.answers(images)
                age, (width, index) = SoftStagewiseRegression.apply_with_extra(
                    *join_answers(answers), stages=self.settings.stages, **self.formula()
                )
        finally:
            self.train(training)
        width, index = Tensor(width).numpy(), Tensor(index).numpy()  # (N, K)
        stages = []
        start = np.full(age.shape, self.settings.min_age, self.dtype)  # (N,) years
        for k, answer in enumerate(answers):
            stage = self.explain_stage(answer, start, width[:, k], index[:, k])
            start = start + stage["contribution"]
            stages.append(stage)
        return {"age": age.numpy(), "stages": stages}

    def explain_stage(
        self, answer: StageAnswer, start: Array, width: Array, index: Array
    ) -> dict[str, Any]:
        """One stage of `explain`; `start` (N,) is the sum of the coarser stages, in years."""
        p, eta = answer.p.numpy(), answer.eta.numpy()
        shifted = np.arange(p.shape[1]) + self.settings.lambda_local * eta  # (N, S)
        lower = start[:, None] + shifted * width[:, None]  # (N, S) years
        return {
            "p": p,
            "eta": eta,
            "delta": answer.delta.numpy()[:, 0],
            "width": width,
            "index": index,
            "contribution": width * index,
            "edges": np.stack([lower, lower + width[:, None]], axis=2),
            "hidden": {name: layer.numpy() for name, layer in answer.hidden.items()},
        }


def as_images(images: Any, size: int, weights: Array) -> Tensor:
    """The images as a Tensor where the weights are, of uint8 or the weights' dtype.

    Raises ValueError, in one sentence, if their shape is another than (N, size, size, 3).
    """
    if not isinstance(images, Tensor):
        images = Tensor(array_module(weights).asarray(images))
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ValueError(f"images of shape {images.shape}; expected (N, {size}, {size}, 3)")
    return images if images.dtype in (np.uint8, weights.dtype) else images.astype(weights.dtype)
