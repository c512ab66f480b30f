"""One step of the optimisers on the GPU, in place: one thread a parameter (optim.cu)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from minissr.kernels import cuda, register
from minissr.kernels.optim.numpy_ref import adam_scales

Array = Any  # cupy.ndarray

OPTIM = cuda.Program(__file__, "optim.cu")
THREADS = 256
PARTS = 16  # of a launch of gather


def contiguous(part: Array | None) -> Array | None:
    """`part` as a kernel can read it."""
    return None if part is None else cuda.xp().ascontiguousarray(part)


@functools.lru_cache(maxsize=64)
def on_device(starts: tuple[int, ...], device: int) -> Array:
    """Where the parts begin, as int32 in device memory; copied there once."""
    return cuda.xp().asarray(np.array(starts, np.int32))


@register("gather", "cupy")
def gather(parts: Sequence[Array | None], starts: Sequence[int], flat: Array) -> None:
    """Copy arrays into `flat` (P,), part i from starts[i] on; None is zeros. 16 in a launch."""
    table = on_device(tuple(starts), cuda.xp().cuda.Device().id)
    for first in range(0, len(parts), PARTS):
        some = [contiguous(part) for part in parts[first : first + PARTS]]
        longest = max(b - a for a, b in pairwise(starts[first : first + len(some) + 1]))
        grid = (max(1, cuda.blocks(longest, THREADS)), PARTS)
        padded = some + [None] * (PARTS - len(some))
        OPTIM.launch("gather", flat.dtype, grid, THREADS, *padded, table, flat, first, len(some))


@register("adam_step", "cupy")
def adam_step(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    form: str,
) -> None:
    """Update `param`, `m` and `v`, each (P,), in place; `step` counts from 1."""
    scales = adam_scales(step, lr, beta1, beta2, eps, form)
    arguments = (param, grad, m, v, param.size, *scales, beta1, beta2)
    OPTIM.launch("adam_step", param.dtype, cuda.blocks(param.size, THREADS), THREADS, *arguments)


@register("sgd_step", "cupy")
def sgd_step(
    param: Array, grad: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """Update `param` and `velocity`, each (P,), in place."""
    arguments = (param, grad, velocity, param.size, lr, momentum, nesterov)
    OPTIM.launch("sgd_step", param.dtype, cuda.blocks(param.size, THREADS), THREADS, *arguments)
