"""The backbone of SSR-Net: two stacks of small blocks that see the image differently.

Levels of 64x64 images are 31, 14, 6 and 4 pixels wide, or 2 where the last block pools: a 3x3
convolution takes off a pixel all around, a 2x2 pooling halves and drops an odd row and column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.autograd.tensor import Tensor
from minissr.nn.layers import StreamBlock, choice, follow, stem
from minissr.nn.module import Module

BLOCKS = 4
# Activation and pooling of the streams s and x. "one" has no s: both sides of a fusion block see x.
TANH_MAX, RELU_AVG = ("tanh", "max"), ("relu", "avg")
KINDS = {"two": (TANH_MAX, RELU_AVG), "alike": (RELU_AVG, RELU_AVG), "one": (None, RELU_AVG)}


class TwoStreams(Module, fusible=True):
    """Two streams of four blocks (Yang et al. 2018, 3.4): different activations and poolings.

    Parameters
    ----------
    image_size : int
        Height and width of the images, in pixels.
    kind : "two" | "alike" | "one"
        "two" is the paper's. "alike" gives both streams ReLU and average pooling, "one" leaves
        stream s out: to see what the difference between the streams is worth.
    filters_s, filters_x : int
        Channels of the two streams.
    pool_last : bool
        Whether block 4 pools.
    momentum : float
        Of the batch norms' moving statistics.
    rng : Generator

    Attributes
    ----------
    s, x : list of StreamBlock
        tanh and maximum pooling; ReLU and average pooling. `s` is empty if there is one stream.
    channels_s, channels_x : int
        Channels of the maps that `forward` returns.
    sizes : list of int
        Height and width of the maps of levels 1 to 4.
    """

    def __init__(
        self,
        image_size: int = 64,
        *,
        kind: str = "two",
        filters_s: int = 16,
        filters_x: int = 32,
        pool_last: bool = False,
        momentum: float = 0.99,
        rng: np.random.Generator,
    ) -> None:
        style_s, style_x = choice("streams", kind, KINDS)
        self.s: list[StreamBlock] = []
        self.x: list[StreamBlock] = []
        self.sizes: list[int] = []
        self.channels_s = filters_s if style_s else filters_x
        self.channels_x = filters_x
        size = image_size
        for level in range(1, BLOCKS + 1):
            pools = level < BLOCKS or pool_last
            size = (size - 2) // 2 if pools else size - 2
            if size < 1:
                raise ValueError(
                    f"image_size {image_size} is too small for {BLOCKS} blocks; "
                    f"expected {46 if pool_last else 38} or more, as 64"
                )
            self.sizes.append(size)
            for blocks, style, filters in (
                (self.s, style_s, filters_s),
                (self.x, style_x, filters_x),
            ):
                if style is not None:
                    activation, pool = style[0], style[1] if pools else "none"
                    channels = filters if blocks else 3
                    shared: dict[str, Any] = {"rng": rng, "momentum": momentum}
                    blocks.append(StreamBlock(channels, filters, activation, pool, **shared))

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """images (N, H, W, 3) -> the maps (s, x) of levels 1 to 4, each (N, size, size, C)."""
        if self.training and self.together(images):
            return self.train_forward(images)
        s, x = images, images
        maps = []
        if not self.s:
            for block_x in self.x:
                x = block_x(x)
                maps.append((x, x))
            return maps
        for block_s, block_x in zip(self.s, self.x, strict=True):
            s, x = block_s(s), block_x(x)
            maps.append((s, x))
        return maps

    @property
    def differ(self) -> bool:
        """Whether they are the paper's two, level by level; the last need not pool."""
        levels = list(zip(self.s, self.x, strict=False))
        styles = [((s.activation, s.pool), (x.activation, x.pool)) for s, x in levels]
        paper = (TANH_MAX, RELU_AVG)
        last = (paper, ((TANH_MAX[0], "none"), (RELU_AVG[0], "none")))
        return bool(styles) and all(style == paper for style in styles[:-1]) and styles[-1] in last

    def together(self, images: Tensor) -> bool:
        """Whether all blocks are computed as one op each, the first level's two as one together."""
        return (
            images.dtype == np.uint8
            and self.may_fuse
            and self.differ
            and self.s[0].norm.eps == self.x[0].norm.eps  # the op `stem` has one
        )

    def train_forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """`forward` of pixels in training; all moving statistics follow at the end."""
        (s, x), seen = stem(self.s[0], self.x[0], images)
        maps = [(s, x)]
        for block_s, block_x in zip(self.s[1:], self.x[1:], strict=True):
            (s, seen_s), (x, seen_x) = block_s.train_forward(s), block_x.train_forward(x)
            maps.append((s, x))
            seen += [seen_s, seen_x]
        follow(seen)
        return maps
