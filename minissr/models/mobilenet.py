"""MobileNet (Howard et al. 2017) as a regression of age: the larger rival in the paper's Table 1.

    images -- conv 3x3 stride 2 -- 13 x [depthwise 3x3, pointwise 1x1] -- 1x1 to 20 channels
           -- flatten -- dropout -- dense 32 -- dense 1 -- years

Every convolution up to the 20 channels has no bias and is followed by batch norm and relu6. A
depthwise convolution looks at each channel by itself, a pointwise one at each pixel by itself:
together they see what a 3x3 convolution sees for about a ninth of its multiplications.

Deviations
----------
This is the authors' graph (`TYY_MobileNet_reg`): Keras' MobileNet without its top, then their
head. `alpha` thins all layers; they published 0.25 and 0.5. "same" padding is TensorFlow's: with
stride 2 and an even side, one row at the bottom and one column at the right. The dropout 0.001 of
their code belongs to the top that is left out, and does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr import ops
from minissr.autograd.tensor import Tensor
from minissr.models.criterion import MAE, Criterion
from minissr.models.ssrnet import as_images
from minissr.nn.layers import BatchNorm, Conv2d, Dense, DepthwiseConv2d, Dropout
from minissr.nn.module import Module

# Channels out of each pointwise convolution at alpha = 1, and the stride of its depthwise one.
BLOCKS = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
FIRST = 32  # channels out of the first convolution at alpha = 1
COMPACT = 20  # ... of the 1x1 convolution of the head
UNITS = 32  # of the dense layer before the age


class NormedConv(Module):
    """A convolution without bias, batch norm, relu6."""

    def __init__(self, conv: Conv2d) -> None:
        self.conv = conv
        self.norm = BatchNorm(conv.w.shape[3])

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, C) -> (N, OH, OW, CO)."""
        return ops.relu6(self.norm(self.conv(x)))


class SeparableBlock(Module):
    """A depthwise 3x3 convolution, then a pointwise one: channels (N, H, W, C) -> filters."""

    def __init__(
        self, channels: int, filters: int, stride: int, *, rng: np.random.Generator
    ) -> None:
        self.depthwise = NormedConv(
            DepthwiseConv2d(channels, 3, rng=rng, stride=stride, padding="same", bias=False)
        )
        self.pointwise = NormedConv(Conv2d(channels, filters, 1, rng=rng, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels) -> (N, ceil(H / stride), ceil(W / stride), filters)."""
        return self.pointwise(self.depthwise(x))


class MobileNet(Module):
    """Age from a face by MobileNet.

    Parameters
    ----------
    alpha : float
        Share of the full network's channels; 0.25 and 0.5 are published.
    dropout : float
        Rate before the dense layers.
    image_size : int
        Height and width of the images, in pixels.
    rng : Generator, optional
        Draws the initial weights; by default with seed 0.

    Raises
    ------
    ValueError
        If a setting makes no sense, in one sentence.

    Examples
    --------
    >>> MobileNet(alpha=0.25).parameter_count()
    226309
    """

    def __init__(
        self,
        alpha: float = 0.25,
        *,
        dropout: float = 0.2,
        image_size: int = 64,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not (1 / FIRST <= alpha <= 4):
            raise ValueError(f"alpha {alpha}; expected a number from 1/32 to 4, such as 0.25")
        if not isinstance(image_size, int) or image_size < 1:
            raise ValueError(f"image_size {image_size!r}; expected a whole number above 0")
        rng = np.random.default_rng(0) if rng is None else rng
        self.alpha, self.image_size = alpha, image_size
        channels = int(FIRST * alpha)
        self.first = NormedConv(
            Conv2d(3, channels, 3, rng=rng, stride=2, padding="same", bias=False)
        )
        side = -(-image_size // 2)
        self.blocks = []
        for whole, stride in BLOCKS:
            filters = int(whole * alpha)
            self.blocks.append(SeparableBlock(channels, filters, stride, rng=rng))
            channels, side = filters, -(-side // stride)
        self.compact = Conv2d(channels, COMPACT, 1, rng=rng)
        self.dropout = Dropout(dropout)
        self.feature = Dense(side * side * COMPACT, UNITS, rng=rng)
        self.age = Dense(UNITS, 1, rng=rng)

    def config(self) -> dict[str, Any]:
        """Plain values from which `registry.build(**config)` makes this network again."""
        return {
            "name": "mobilenet",
            "alpha": self.alpha,
            "dropout": self.dropout.rate,
            "image_size": self.image_size,
        }

    def maps(self, images: Any) -> Tensor:
        """The last feature maps: images (N, H, W, 3) -> (N, H / 32, W / 32, 1024 alpha)."""
        x = as_images(images, self.image_size, self.age.w.data)
        x = self.first(x.astype(self.dtype))
        for block in self.blocks:
            x = block(x)
        return x

    def features(self, images: Any, rng: np.random.Generator | None = None) -> Tensor:
        """The numbers (N, 32) that the age is a weighted sum of."""
        x = ops.flatten(ops.relu(self.compact(self.maps(images))))  # (N, side side 20)
        return ops.relu(self.feature(self.dropout(x, rng)))

    def forward(self, images: Any, rng: np.random.Generator | None = None) -> Tensor:
        """Ages in years, (N,), not clamped.

        Parameters
        ----------
        images : Tensor or ndarray (N, H, W, 3)
            Pixels as the checkpoint's preprocessing says; uint8 or float.
        rng : Generator
            Draws the dropout mask; required in training where the rate isn't 0.
        """
        return self.age(self.features(images, rng)).reshape(-1)

    def loss(
        self,
        images: Any,
        ages: Any,
        rng: np.random.Generator | None = None,
        criterion: Criterion = MAE,
    ) -> tuple[Tensor, Tensor]:
        """What to train on, by default the mean absolute error, and the ages (N,)."""
        criterion.check(self.config())
        predicted = self.forward(images, rng)
        return criterion.of_ages(predicted, ages), predicted
