"""The head of the CUDA backend: a launch for each stage, forward and backward.

head.cu and head_grad.cu have the kernels; `composed` computes what doesn't fit them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.head import composed
from minissr.kernels.head.composed import Parameters, codes, cut, of_stage

Array = Any  # cupy.ndarray

FORWARD = cuda.Program(__file__, "head.cu")
BACKWARD = cuda.Program(__file__, "head_grad.cu")
THREADS = 256
FEATURES, CHANNELS, COMPACT, UNITS = 512, 64, 16, 32  # head_grad.cu, head_layers.cuh


def fits(maps: Sequence[Array], parameters: Sequence[Array | None], pools: Sequence[int]) -> bool:
    """Whether the fused kernels have room for every stage."""
    return all(
        max(w.conv_s_w.shape[2], w.conv_x_w.shape[2]) <= CHANNELS
        and w.conv_s_w.shape[3] <= COMPACT
        and len(w.delta_w) <= FEATURES
        and max(len(w.s_b), len(w.p_w)) <= UNITS
        and len(maps[0])
        for w in (of_stage(parameters, k) for k in range(len(pools)))
    )


def sizes_of(s: Array, w: Parameters, pool: int) -> tuple[int, ...]:
    """H, W, CS, CX, F, pool, S, M as both kernels are told."""
    mixed = 0 if w.mix_b is None else len(w.mix_b)
    compact = w.conv_s_w.shape[3]
    return (*s.shape[1:], w.conv_x_w.shape[2], compact, pool, len(w.s_b), mixed)


@register("head_forward", "cupy")
def head_forward(
    maps: Sequence[Array],
    parameters: Sequence[Array | None],
    masks: Sequence[Array | None],
    pools: Sequence[int],
    activations: tuple[str, str, str, str],
) -> tuple[Array, Array, Array, tuple[Any, ...]]:
    """See `composed.forward`."""
    if not fits(maps, parameters, pools):
        return composed.forward("cupy", maps, parameters, masks, pools, activations)
    stages = [of_stage(parameters, k) for k in range(len(pools))]
    n, dtype, empty = len(maps[0]), maps[0].dtype, cuda.xp().empty
    bins = sum(len(w.p_b) for w in stages)
    p, eta = empty((n, bins), dtype), empty((n, bins), dtype)
    delta = empty((n, len(stages)), dtype)
    saved, first = [], 0
    for k, (w, pool) in enumerate(zip(stages, pools, strict=True)):
        s, x = maps[2 * k : 2 * k + 2]
        u, v = empty((n, len(w.delta_w)), dtype), empty((n, len(w.delta_w)), dtype)
        winner = empty(u.shape, "int32")
        hidden = empty((n, 2 * len(w.s_b) + len(w.p_w)), dtype)
        arrays = (s, x, *w, *masks[2 * k : 2 * k + 2], u, v, winner, hidden, p, eta, delta)
        sizes = (*sizes_of(s, w, pool), bins, first, len(stages), k)
        FORWARD.launch("head_stage", dtype, n, THREADS, *arrays, *sizes, *codes(activations))
        saved.append((u, v, winner, hidden))
        first += len(w.p_b)
    return p, eta, delta, (p, eta, delta, saved)


@register("head_backward", "cupy")
def head_backward(
    g_p: Array,
    g_eta: Array,
    g_delta: Array,
    maps: Sequence[Array],
    parameters: Sequence[Array | None],
    masks: Sequence[Array | None],
    pools: Sequence[int],
    activations: tuple[str, str, str, str],
    saved: tuple[Any, ...],
) -> tuple[tuple[Array, ...], tuple[Array | None, ...]]:
    """See `composed.backward`."""
    arguments: tuple[Any, ...]
    if not fits(maps, parameters, pools):
        arguments = (maps, parameters, masks, pools, activations, saved)
        return composed.backward("cupy", g_p, g_eta, g_delta, *arguments)
    *answers, kept = saved
    n, dtype, empty = len(maps[0]), maps[0].dtype, cuda.xp().empty
    map_grads: list[Array] = []
    parameter_grads: list[Array | None] = []
    first = 0
    for k, (of_forward, pool) in enumerate(zip(kept, pools, strict=True)):
        w, (s, x) = of_stage(parameters, k), maps[2 * k : 2 * k + 2]
        sizes = (*sizes_of(s, w, pool), g_p.shape[1], first, g_delta.shape[1], k)
        gs, gx = empty(s.shape, dtype), empty(x.shape, dtype)
        mixed = 0 if w.mix_b is None else len(w.mix_b)
        small = empty((n, 4 * len(w.s_b) + mixed + 1), dtype)
        convolutions = (w.conv_s_w, w.conv_s_b, w.conv_x_w, w.conv_x_b)
        parts = empty((n, sum(c.size for c in convolutions)), dtype)
        flat = empty(sum(0 if each is None else each.size for each in w), dtype)
        weights = (w.conv_s_w, w.conv_x_w, w.conv_x_b, w.delta_w, w.s_w, w.x_w)
        arrays = (g_p, g_eta, g_delta, *answers, *of_forward, s, x, *weights)
        more = (w.mix_w, w.p_w, w.eta_w, *masks[2 * k : 2 * k + 2], gs, gx, small, parts, flat)
        counters = cuda.arrival_counters(1)
        settings = (n, *sizes, *codes(activations))
        BACKWARD.launch("head_stage_grad", dtype, n, THREADS, *arrays, *more, counters, *settings)
        map_grads += [gs, gx]
        parameter_grads += cut(flat, w)
        first += len(w.p_b)
    return tuple(map_grads), tuple(parameter_grads)
