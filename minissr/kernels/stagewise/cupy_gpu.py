"""Soft stagewise regression on the GPU: one thread an image (stagewise.cu)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minissr.kernels import cuda, register

Array = Any  # cupy.ndarray

STAGEWISE = cuda.Program(__file__, "stagewise.cu")
THREADS = 128
_on_device: dict[tuple[int, tuple[int, ...]], Array] = {}


def on_device(stages: Sequence[int]) -> Array:
    """The numbers of bins as int32 (K,) in device memory; copied there once."""
    key = (cuda.xp().cuda.Device().id, tuple(stages))
    if key not in _on_device:
        _on_device[key] = cuda.xp().asarray(np.asarray(stages, np.int32))
    return _on_device[key]


@register("stagewise_forward", "cupy")
def stagewise_forward(
    p: Array,
    eta: Array,
    delta: Array,
    stages: Sequence[int],
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> tuple[Array, Array, Array]:
    """The ages (N,) in years, the bin widths (N, K) in years and the bin indices (N, K)."""
    n, k = delta.shape
    age = cuda.xp().empty(n, p.dtype)
    width, index = cuda.xp().empty((n, k), p.dtype), cuda.xp().empty((n, k), p.dtype)
    sizes = (n, k, p.shape[1])
    arguments = (p, eta, delta, on_device(stages), age, width, index, *sizes)
    settings = (min_age, max_age, c_delta, c_eta, floor)
    blocks = cuda.blocks(n, THREADS)
    STAGEWISE.launch("stagewise_forward", p.dtype, blocks, THREADS, *arguments, *settings)
    return age, width, index


@register("stagewise_backward", "cupy")
def stagewise_backward(
    g_age: Array,
    p: Array,
    eta: Array,
    delta: Array,
    width: Array,
    index: Array,
    stages: Sequence[int],
    min_age: float,
    max_age: float,
    c_delta: float,
    c_eta: float,
    floor: float,
) -> tuple[Array, Array, Array]:
    """The gradients gp, geta (N, sum of stages) and gdelta (N, K), from `g_age` (N,)."""
    n, k = delta.shape
    empty = cuda.xp().empty
    gp, geta, gdelta = empty(p.shape, p.dtype), empty(p.shape, p.dtype), empty((n, k), p.dtype)
    arrays = (g_age, p, eta, delta, width, index, on_device(stages), gp, geta, gdelta)
    settings = (n, k, p.shape[1], c_delta, c_eta, floor)
    blocks = cuda.blocks(n, THREADS)
    STAGEWISE.launch("stagewise_backward", p.dtype, blocks, THREADS, *arrays, *settings)
    return gp, geta, gdelta
