"""The fused head against the same thing composed of NumPy kernels in float64, at any shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

pytest.importorskip("minissr.kernels.simd", reason="needs Numba")
from minissr.kernels import lookup
from minissr.kernels.head import numba_simd
from minissr.kernels.head.composed import ACTIVATIONS
from tests.kernels.kinks import head_is_sure

WIDE = 16  # a multiple of every register width
HIDDEN = [name for name in ACTIVATIONS if name != "softmax"]


@dataclass
class Stage:
    """Sizes of one stage: its maps', the pooling's, the layers'."""

    size: tuple[int, int]
    pool: int
    bins: int
    channels: tuple[int, int] = (WIDE, 2 * WIDE)

    def shapes(self, compact: int, mixed: bool) -> list[tuple[int, ...] | None]:
        """Of the sixteen parameters."""
        features = (self.size[0] // self.pool) * (self.size[1] // self.pool) * compact
        bins, units = self.bins, 2 * self.bins if mixed else self.bins
        convolutions = [shape for c in self.channels for shape in ((1, 1, c, compact), (compact,))]
        wide = [shape for u in (1, bins, bins) for shape in ((features, u), (u,))]
        mix = [(bins, units), (units,)] if mixed else [None, None]
        return [*convolutions, *wide, *mix, (units, bins), (bins,), (units, bins), (bins,)]


def arguments(
    n: int,
    stages: list[Stage],
    compact: int,
    activations: tuple[str, str, str, str],
    masked: bool,
    seed: int,
    dtype: Any = np.float32,
) -> tuple[Any, ...]:
    """What `head_forward` takes, of numbers that leave no activation saturated."""
    rng = np.random.default_rng(seed)
    maps, parameters, masks = [], [], []
    for stage in stages:
        maps += [rng.standard_normal((n, *stage.size, c)).astype(dtype) for c in stage.channels]
        for shape in stage.shapes(compact, activations[2] != "none"):
            w = None if shape is None else rng.standard_normal(shape) / np.prod(shape[:-1]) ** 0.5
            parameters.append(None if w is None else w.astype(dtype))
        kept = rng.random((2, n, len(parameters[-12]))) < 0.7
        masks += list((kept / 0.7).astype(dtype)) if masked else [None, None]
    return maps, parameters, masks, tuple(stage.pool for stage in stages), activations


def exact(value: Any) -> Any:
    """The same in float64."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(exact, value))
    return value.astype(np.float64) if isinstance(value, np.ndarray) else value


def assert_close(got: Any, expected: Any, scale: float = 0.0) -> None:
    """Relative to the largest value, of `expected` or as given: as rounding in sums is."""
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert np.abs(got - expected).max() <= 2e-5 * max(np.abs(expected).max(), scale, 1e-3)


def assert_agrees(given_arguments: tuple[Any, ...], seed: int = 0) -> None:
    """The Numba head and the NumPy head say the same, and so do their gradients."""
    before = exact(given_arguments)
    *answers, saved = lookup("head_forward", "numba")(*given_arguments)
    *right, kept = lookup("head_forward", "numpy")(*exact(given_arguments))
    for got, expected in zip(answers, right, strict=True):
        assert_close(got, expected)
    rng = np.random.default_rng(seed)
    grads = [rng.standard_normal(each.shape).astype(np.float32) for each in answers]
    got_grads = lookup("head_backward", "numba")(*grads, *given_arguments, saved)
    right_grads = lookup("head_backward", "numpy")(*exact(grads), *exact(given_arguments), kept)
    for got_group, right_group in zip(got_grads, right_grads, strict=True):
        assert len(got_group) == len(right_group)
        # A bias may have a gradient that is the small rest of large terms.
        scale = 0.1 * max(np.abs(each).max() for each in right_group if each is not None)
        for got, expected in zip(got_group, right_group, strict=True):
            assert (got is None) == (expected is None)
            if got is not None:
                assert_close(got, expected, scale)
    for array, copy in zip(flattened(given_arguments), flattened(before), strict=True):
        np.testing.assert_array_equal(array, copy)


def flattened(value: Any) -> list[np.ndarray]:
    """All arrays in nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        return [array for each in value for array in flattened(each)]
    return [value] if isinstance(value, np.ndarray) else []


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    channels = st.tuples(*[st.sampled_from([WIDE, 2 * WIDE, 3 * WIDE])] * 2)
    pool = draw(st.integers(1, min(*size, 4)))
    return Stage(size, pool, draw(st.integers(1, 5)), draw(channels))


@given(
    n=st.integers(1, 5),
    every=st.lists(stages(), min_size=1, max_size=3),
    compact=st.integers(1, 18),
    activations=st.tuples(
        st.sampled_from(HIDDEN),
        st.sampled_from(HIDDEN),
        st.sampled_from([*HIDDEN, "none"]),
        st.sampled_from(ACTIVATIONS),
    ),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
@example(3, [Stage((31, 31), 8, 3)], 10, ("tanh", "tanh", "tanh", "softmax"), False, 0)
@example(70, [Stage((4, 4), 1, 3)], 10, ("relu", "relu", "relu", "relu"), True, 0)
def test_head(n, every, compact, activations, masked, seed):
    given_arguments = arguments(n, every, compact, activations, masked, seed)
    assert numba_simd.fits(given_arguments[0], given_arguments[3])
    assume(head_is_sure(*exact(given_arguments)))
    assert_agrees(given_arguments, seed)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_every_activation(name: str, masked: bool) -> None:
    hidden = "tanh" if name == "softmax" else name
    every = [Stage((6, 7), 2, 3), Stage((3, 3), 1, 4)]
    assert_agrees(arguments(4, every, 10, (hidden, hidden, hidden, name), masked, 1))


def test_one_mask_of_two():
    maps, parameters, masks, *settings = arguments(
        4, [Stage((6, 6), 2, 3)], 10, ("tanh", "tanh", "none", "softmax"), True, 2
    )
    for only in ([masks[0], None], [None, masks[1]]):
        assert_agrees((maps, parameters, only, *settings))


@pytest.mark.parametrize(
    ("channels", "dtype"), [((5, 7), np.float32), ((WIDE, 2 * WIDE), np.float64)]
)
def test_what_fills_no_register_is_composed(channels: tuple[int, int], dtype: Any) -> None:
    every = [Stage((5, 6), 2, 3, channels)]
    given_arguments = arguments(
        3, every, 10, ("tanh", "relu", "leaky_relu", "softmax"), False, 3, dtype
    )
    assert not numba_simd.fits(given_arguments[0], given_arguments[3])
    *answers, saved = lookup("head_forward", "numba")(*given_arguments)
    *right, kept = lookup("head_forward", "numpy")(*exact(given_arguments))
    got = lookup("head_backward", "numba")(*answers, *given_arguments, saved)
    expected = lookup("head_backward", "numpy")(*exact(answers), *exact(given_arguments), kept)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    pairs = zip([*answers, *got[0], *got[1]], [*right, *expected[0], *expected[1]], strict=True)
    for a, b in pairs:
        assert a.dtype == dtype
        assert np.abs(a - b).max() <= tolerance * max(1.0, np.abs(b).max())


def test_ties_go_to_the_first_pixel_and_nothing_to_a_window_without_a_winner():
    """A map that is the same everywhere, once above 0 and once below: as `composed` has it."""
    every = [Stage((4, 4), 2, 2)]
    maps, parameters, *rest = arguments(2, every, 3, ("tanh", "tanh", "tanh", "softmax"), False, 4)
    maps = [np.ones_like(each) for each in maps]
    for bias in (50.0, -50.0):
        parameters[1][:], parameters[3][:] = bias, bias
        assert_agrees((maps, parameters, *rest))
