"""DenseNet (Huang et al. 2017) as a regression of age: the rival that the paper finds hardest.

    images -- conv 3x3 -- dense block -- transition -- dense block -- transition -- dense block
           -- batch norm, relu, mean over the map -- dense 128 -- dropout -- dense 32 -- dense 1

A layer of a dense block reads all channels that were made before it in the block and adds 12 of
its own, behind them. A transition mixes the channels and halves the map.

Deviations
----------
This is the authors' graph (`TYY_DenseNet_reg`), with the DenseNet of titu1994 that they took: no
bottlenecks, no compression in the transitions. Its weight decay is a term of the loss, as in their
training: 1e-4 times the sum of squares of the first convolution and of the two 1x1 convolutions of
the transitions, and of no other weight. So their histories' `loss` is not an error in years.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr import ops
from minissr.autograd.tensor import Tensor
from minissr.models.criterion import MAE, Criterion
from minissr.models.ssrnet import as_images
from minissr.nn.init import he_normal
from minissr.nn.layers import BatchNorm, Conv2d, Dense, Dropout
from minissr.nn.module import Module

GROWTH = 12  # channels that a layer adds
FIRST = 2 * GROWTH  # channels out of the first convolution
BLOCKS = 3
EPS = 1.1e-5  # of every batch norm
HIDDEN, UNITS = 128, 32  # of the dense layers before the age


class PreNormConv(Module):
    """Batch norm, relu, then a convolution without bias ("same" padding)."""

    def __init__(self, channels: int, filters: int, size: int, *, rng: np.random.Generator) -> None:
        self.norm = BatchNorm(channels, eps=EPS)
        self.conv = Conv2d(
            channels, filters, size, rng=rng, padding="same", bias=False, init=he_normal
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, channels) -> (N, H, W, filters)."""
        return self.conv(ops.relu(self.norm(x)))


class DenseBlock(Module):
    """Layers that each read everything before them: (N, H, W, C) -> (N, H, W, C + 12 layers)."""

    def __init__(self, channels: int, layers: int, *, rng: np.random.Generator) -> None:
        self.layers = [
            PreNormConv(channels + i * GROWTH, GROWTH, 3, rng=rng) for i in range(layers)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, C) -> (N, H, W, C + 12 layers), the oldest channels first."""
        for layer in self.layers:
            x = ops.concat([x, layer(x)], axis=3)
        return x


class DenseNet(Module):
    """Age from a face by DenseNet.

    Parameters
    ----------
    depth : int
        3 n + 4 for n layers in each of the three dense blocks; 13 and 19 are published.
    dropout : float
        Rate between the dense layers.
    l2 : float
        Weight of the sum of squares in the loss; see the module's text.
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
    >>> DenseNet(depth=19).parameter_count()
    242009
    """

    def __init__(
        self,
        depth: int = 19,
        *,
        dropout: float = 0.2,
        l2: float = 1e-4,
        image_size: int = 64,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not isinstance(depth, int) or depth < 7 or (depth - 4) % BLOCKS:
            raise ValueError(f"depth {depth!r}; expected 3 n + 4 with n from 1 up, as in 13 and 19")
        if not 0 <= l2 < float("inf"):
            raise ValueError(f"l2 {l2}; expected a number from 0 up")
        if not isinstance(image_size, int) or image_size < 4:
            raise ValueError(f"image_size {image_size!r}; expected a whole number from 4 up")
        rng = np.random.default_rng(0) if rng is None else rng
        self.depth, self.l2, self.image_size = depth, l2, image_size
        layers, channels = (depth - 4) // BLOCKS, FIRST
        self.first = Conv2d(3, FIRST, 3, rng=rng, padding="same", bias=False, init=he_normal)
        self.blocks, self.transitions = [], []
        for i in range(BLOCKS):
            self.blocks.append(DenseBlock(channels, layers, rng=rng))
            channels += layers * GROWTH
            if i < BLOCKS - 1:
                self.transitions.append(PreNormConv(channels, channels, 1, rng=rng))
        self.norm = BatchNorm(channels, eps=EPS)
        self.hidden = Dense(channels, HIDDEN, rng=rng)
        self.dropout = Dropout(dropout)
        self.feature = Dense(HIDDEN, UNITS, rng=rng)
        self.age = Dense(UNITS, 1, rng=rng)

    def config(self) -> dict[str, Any]:
        """Plain values from which `registry.build(**config)` makes this network again."""
        return {
            "name": "densenet",
            "depth": self.depth,
            "dropout": self.dropout.rate,
            "l2": self.l2,
            "image_size": self.image_size,
        }

    def means(self, images: Any) -> Tensor:
        """The means of the last feature maps: images (N, H, W, 3) -> (N, 24 + 12 (depth - 4))."""
        x = as_images(images, self.image_size, self.age.w.data)
        x = self.first(x.astype(self.dtype))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.transitions):
                x = ops.avg_pool(self.transitions[i](x), 2)
        return ops.global_avg_pool(ops.relu(self.norm(x)))

    def features(self, images: Any, rng: np.random.Generator | None = None) -> Tensor:
        """The numbers (N, 32) that the age is a weighted sum of."""
        x = self.dropout(ops.relu(self.hidden(self.means(images))), rng)  # (N, 128)
        return ops.relu(self.feature(x))

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

    def penalty(self) -> Tensor:
        """l2 times the sum of squares of the weights that decay, ()."""
        decaying = [self.first, *(transition.conv for transition in self.transitions)]
        squares = [(conv.w * conv.w).sum() for conv in decaying]
        return (squares[0] + squares[1] + squares[2]) * self.l2

    def loss(
        self,
        images: Any,
        ages: Any,
        rng: np.random.Generator | None = None,
        criterion: Criterion = MAE,
    ) -> tuple[Tensor, Tensor]:
        """What to train on, by default the mean absolute error, with the penalty; the ages (N,)."""
        criterion.check(self.config())
        predicted = self.forward(images, rng)
        loss = criterion.of_ages(predicted, ages)
        return (loss + self.penalty() if self.l2 else loss), predicted
