"""One call of an op, and what every case is drawn from: numbers that keep away from kinks."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

import minissr.ops
from minissr.autograd.function import Function
from minissr.kernels.head.composed import Parameters
from minissr.ops.arrange import Concat
from minissr.ops.block import Stem
from minissr.ops.head import Head

STREAM_PARAMETERS = ("w", "bias", "gamma", "beta")

CLEAR = 0.01  # how far inputs stay from a kink, and equal things apart: 1000 steps


# Tensor inputs of the ops that take any number of them, as many as the cases give.
VARIADIC: dict[type[Function], list[str]] = {
    Concat: ["first", "second"],
    Stem: [f"{stream}_{name}" for stream in ("relu", "tanh") for name in STREAM_PARAMETERS],
    Head: [
        *(f"{stream}_{k}" for k in (1, 2) for stream in "sx"),
        *(f"{name}_{k}" for k in (1, 2) for name in Parameters._fields),
    ],
}

# Inputs that never get a gradient.
CONSTANT = {(Stem, "images")}


@dataclass(frozen=True)
class Case:
    """One call of an op: arrays (None for an optional input left out) and keyword settings."""

    inputs: tuple[np.ndarray | None, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None  # for ops that draw: a fresh generator for every call

    def call(self, op: type[Function]) -> Callable[..., Any]:
        """The op as a function of its tensors, the same each time."""
        names = input_names(op)

        def apply(*tensors: Any) -> Any:
            drawn = {} if self.seed is None else {"rng": np.random.default_rng(self.seed)}
            return op.apply(*tensors, **self.settings, **drawn)

        apply.__name__ = op.__name__
        parameter = inspect.Parameter
        apply.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        return apply


def every_op() -> list[type[Function]]:
    """All ops there are: the subclasses of Function once every module of minissr.ops is in."""
    for module in pkgutil.iter_modules(minissr.ops.__path__):
        importlib.import_module(f"minissr.ops.{module.name}")
    ops = [op for op in Function.__subclasses__() if op.__module__.startswith("minissr.")]
    return sorted(ops, key=lambda op: op.__name__)


def input_names(op: type[Function]) -> list[str]:
    """The positional arguments of an op's forward, which are its tensor inputs."""
    _ctx, *parameters = inspect.signature(op.forward).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return names + VARIADIC.get(op, [])


# ---- numbers ----------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1, 4)


def dodge(x: np.ndarray, *kinks: float) -> np.ndarray:
    """Move the numbers that are within CLEAR of a kink to the far side of it."""
    for kink in kinks:
        x = np.where(abs(x - kink) < CLEAR, kink + np.where(x < kink, -2, 2) * CLEAR, x)
    return x


def spaced(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in random order of which no two are closer than CLEAR, nor any to 0."""
    count = int(np.prod(shape))
    steps = np.arange(count) - count / 2 + 0.5 + rng.uniform(-0.2, 0.2, count)
    return rng.permutation(steps * 2 * CLEAR).reshape(shape)


def away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of either sign with sizes from 0.5 to 2."""
    return np.asarray(rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape))


@st.composite
def orders(draw: st.DrawFn) -> Callable[[np.ndarray], np.ndarray]:
    """C or Fortran order: ops have to accept both."""
    return np.asfortranarray if draw(st.booleans()) else np.ascontiguousarray


@st.composite
def shapes(draw: st.DrawFn, fewest: int = 1, most: int = 4) -> tuple[int, ...]:
    return tuple(draw(st.lists(lengths, min_size=fewest, max_size=most)))
