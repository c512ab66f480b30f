"""What the kernels are tested on: hypothesis draws shapes, settings and a seed, never numbers.

Each drawn case makes its arrays from the seed, in the dtype asked for, so a failing example is a
line of integers that can be typed in again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from minissr.kernels.geometry import Padding, Size, output_size

seeds = st.integers(0, 2**32 - 1)
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))

# One array in memory orders a caller may have: the same numbers, other strides.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
}
layouts = st.sampled_from(sorted(LAYOUTS))


@dataclass(frozen=True)
class Drawn:
    """Numbers from a seed."""

    seed: int

    def normal(self, stream: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Standard normal numbers; each `stream` has its own."""
        rng = np.random.default_rng((self.seed, stream))
        return rng.normal(size=shape).astype(dtype)

    def uniform(
        self, stream: int, shape: tuple[int, ...], dtype: type, low: float = 0.0, high: float = 1.0
    ) -> np.ndarray:
        rng = np.random.default_rng((self.seed, stream))
        return rng.uniform(low, high, shape).astype(dtype)


@dataclass(frozen=True)
class Convolution(Drawn):
    """A convolution of G groups, each of `c` input and `co` output channels."""

    images: tuple[int, int, int]  # N, H, W
    size: Size
    stride: Size
    padding: Padding
    groups: int
    c: int
    co: int
    with_bias: bool

    @property
    def y_shape(self) -> tuple[int, ...]:
        n, h, w = self.images
        out = output_size(h, w, self.size, self.stride, self.padding)
        return (n, *out, self.groups * self.co)

    def x(self, dtype: type) -> np.ndarray:
        return self.normal(0, (*self.images, self.groups * self.c), dtype)

    def w(self, dtype: type) -> np.ndarray:
        return self.normal(1, (*self.size, self.c, self.groups * self.co), dtype)

    def bias(self, dtype: type) -> np.ndarray | None:
        return self.normal(2, (self.groups * self.co,), dtype) if self.with_bias else None

    def gy(self, dtype: type) -> np.ndarray:
        return self.normal(3, self.y_shape, dtype)

    @property
    def settings(self) -> tuple[Size, Padding, int]:
        return self.stride, self.padding, self.groups


def image_sides(draw: st.DrawFn, size: Size, padding: Padding, most: int = 9) -> tuple[int, int]:
    """Sides, as a rule odd and unequal, of an image that the window fits into once padded."""
    top, bottom, left, right = padding
    height = draw(st.integers(max(1, size[0] - top - bottom), most))
    width = draw(st.integers(max(1, size[1] - left - right), most))
    return height, width


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    """Ordinary, grouped, depthwise (also with a multiplier) and 1x1 convolutions."""
    size, padding = draw(sizes), draw(st.tuples(*[st.integers(0, 2)] * 4))
    kind = draw(st.sampled_from(["ordinary", "groups", "depthwise", "multiplier", "pointwise"]))
    groups, c, co = 1, draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 16, 33]))
    if kind == "groups":
        groups, co = draw(st.integers(2, 3)), draw(st.integers(1, 4))
    elif kind in ("depthwise", "multiplier"):
        groups, c = draw(st.integers(1, 17)), 1
        co = 1 if kind == "depthwise" else draw(st.integers(2, 3))
    elif kind == "pointwise":
        size, padding = (1, 1), (0, 0, 0, 0)
    images = (draw(st.integers(1, 3)), *image_sides(draw, size, padding))
    stride, with_bias = draw(strides), draw(st.booleans())
    return Convolution(draw(seeds), images, size, stride, padding, groups, c, co, with_bias)


@dataclass(frozen=True)
class Pooling(Drawn):
    """A pooling whose windows all hold a pixel of the image."""

    x_shape: tuple[int, ...]
    size: Size
    stride: Size
    padding: Padding
    count_include_pad: bool

    @property
    def y_shape(self) -> tuple[int, ...]:
        n, h, w, c = self.x_shape
        return (n, *output_size(h, w, self.size, self.stride, self.padding), c)

    def x(self, dtype: type) -> np.ndarray:
        return self.normal(0, self.x_shape, dtype)

    def tied(self, dtype: type) -> np.ndarray:
        """Few different numbers, -inf and NaN among them."""
        choice = np.random.default_rng((self.seed, 1)).integers(0, 5, self.x_shape)
        return np.array([-np.inf, -1, 0, 1, np.nan], dtype)[choice]

    def gy(self, dtype: type) -> np.ndarray:
        return self.normal(2, self.y_shape, dtype)

    @property
    def geometry(self) -> tuple[Size, Size, Padding]:
        return self.size, self.stride, self.padding


@st.composite
def poolings(draw: st.DrawFn) -> Pooling:
    size = draw(sizes)
    vertical, horizontal = st.integers(0, size[0] - 1), st.integers(0, size[1] - 1)
    padding = draw(st.tuples(vertical, vertical, horizontal, horizontal))
    sides = image_sides(draw, size, padding)
    x_shape = (draw(st.integers(1, 3)), *sides, draw(st.sampled_from([1, 3, 17])))
    return Pooling(draw(seeds), x_shape, size, draw(strides), padding, draw(st.booleans()))


@dataclass(frozen=True)
class Normalisation(Drawn):
    """Batch norm of x (..., C), whose channels have means and spreads of their own."""

    x_shape: tuple[int, ...]
    eps: float = 1e-3

    def x(self, dtype: type) -> np.ndarray:
        channels = self.x_shape[-1]
        spread = self.uniform(0, (channels,), np.float64, 0.5, 4.0)
        mean = 10 * self.normal(1, (channels,), np.float64)
        return (spread * self.normal(2, self.x_shape, np.float64) + mean).astype(dtype)

    def gy(self, dtype: type) -> np.ndarray:
        return self.normal(3, self.x_shape, dtype)

    def parameters(self, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """gamma, beta."""
        return self.normal(4, self.x_shape[-1:], dtype), self.normal(5, self.x_shape[-1:], dtype)

    def statistics(self, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """A moving mean and variance."""
        mean = 10 * self.normal(1, self.x_shape[-1:], dtype)
        return mean, self.uniform(6, self.x_shape[-1:], dtype, 0.1, 4.0)


@st.composite
def normalisations(draw: st.DrawFn) -> Normalisation:
    """Dense (N, C) and image (N, H, W, C) inputs of at least four rows."""
    channels = draw(st.sampled_from([1, 3, 16, 33]))
    rows = draw(
        st.one_of(
            st.tuples(st.integers(4, 40)),
            st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
        )
    )
    return Normalisation(draw(seeds), (*rows, channels))


@dataclass(frozen=True)
class Regression(Drawn):
    """Soft stagewise regression; delta stays inside [-0.8, 0.9], far from the floor."""

    n: int
    stages: tuple[int, ...]
    min_age: float
    max_age: float
    c_delta: float
    c_eta: float
    floor: float = 1e-3

    def p(self, dtype: type) -> np.ndarray:
        return self.uniform(0, (self.n, sum(self.stages)), dtype)

    def eta(self, dtype: type) -> np.ndarray:
        return self.uniform(1, (self.n, sum(self.stages)), dtype, -1.0, 1.0)

    def delta(self, dtype: type) -> np.ndarray:
        return self.uniform(2, (self.n, len(self.stages)), dtype, -0.8, 0.9)

    def g_age(self, dtype: type) -> np.ndarray:
        return self.normal(3, (self.n,), dtype)

    @property
    def settings(self) -> tuple[tuple[int, ...], float, float, float, float, float]:
        ages = self.min_age, self.max_age
        return (self.stages, *ages, self.c_delta, self.c_eta, self.floor)


@st.composite
def regressions(draw: st.DrawFn) -> Regression:
    stages = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=5)))
    min_age, span = draw(st.sampled_from([0.0, 5.0])), draw(st.sampled_from([61.0, 101.0]))
    coefficients = st.sampled_from([0.0, 0.3, 1.0])
    return Regression(
        draw(seeds),
        draw(st.integers(1, 6)),
        stages,
        min_age,
        min_age + span,
        draw(coefficients),
        draw(coefficients),
    )
