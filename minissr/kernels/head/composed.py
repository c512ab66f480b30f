"""The stages of SSR-Net, composed: from the streams' maps to p, eta and delta (Yang et al. 2018,
Fig. 1b).

For one stage, with its maps s and x of the two streams and `fuse` a 1x1 convolution, ReLU and
pooling (see `kernels.fusion`),

    u = fuse max (s)    v = fuse avg (x)      flat: a number for each cell and compact channel
    delta = tanh ((u v) w_delta + b)          u v element by element, before any dropout
    a = f_s ((m_s u) w_s + b)                 m_s, m_x dropout masks, or nothing
    b = f_x ((m_x v) w_x + b)
    c = f_mix ((a b) w_mix + b)               or a b itself
    p = f_p (c w_p + b)    eta = tanh (c w_eta + b)

Backward is the chain rule from the end: a layer y = f(x w + b) that is handed g = dL/dy has
h = g f'(y), dL/dw = x^T h, dL/db = sum of the rows of h, dL/dx = h w^T. Every f here has a slope
that its own result tells.

This is the reference of the fused head, and what computes everything the fused one doesn't.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from minissr.kernels import lookup
from minissr.kernels.backend import array_module

Array = Any  # numpy.ndarray or cupy.ndarray
LEAK = 0.01  # slope of leaky_relu below 0
ACTIVATIONS = ("linear", "relu", "leaky_relu", "relu6", "softplus", "tanh", "softmax")


class Parameters(NamedTuple):
    """The sixteen of a stage, in the order of FusionBlock; those of `mix` may be None."""

    conv_s_w: Array  # (1, 1, channels of s, F)
    conv_s_b: Array  # (F,)
    conv_x_w: Array
    conv_x_b: Array
    delta_w: Array  # (cells F, 1)
    delta_b: Array  # (1,)
    s_w: Array  # (cells F, S)
    s_b: Array  # (S,)
    x_w: Array
    x_b: Array
    mix_w: Array | None  # (S, M)
    mix_b: Array | None
    p_w: Array  # (M, S), or (S, S) without mix
    p_b: Array
    eta_w: Array
    eta_b: Array


COUNT = len(Parameters._fields)


class Kept(NamedTuple):
    """What the backward of a stage wants back."""

    u: Array  # (N, cells F)
    v: Array
    fused_u: tuple[Array, ...]
    fused_v: tuple[Array, ...]
    a: Array  # (N, S)
    b: Array
    c: Array  # (N, M)
    p: Array  # (N, S)
    eta: Array
    delta: Array  # (N, 1)


def of_stage(parameters: Sequence[Array | None], k: int) -> Parameters:
    """The parameters of stage k from those of all stages."""
    return Parameters(*parameters[COUNT * k : COUNT * (k + 1)])


def codes(activations: tuple[str, str, str, str]) -> tuple[int, ...]:
    """The activations as compiled kernels number them; a layer left out has any."""
    return tuple(0 if name == "none" else ACTIVATIONS.index(name) for name in activations)


def cut(flat: Array, like: Parameters) -> list[Array | None]:
    """One array as sixteen, in the shapes of `like`; nothing is copied."""
    pieces: list[Array | None] = []
    start = 0
    for each in like:
        stop = start + (0 if each is None else each.size)
        pieces.append(None if each is None else flat[start:stop].reshape(each.shape))
        start = stop
    return pieces


def activated(h: Array, name: str) -> Array:
    """f(h); softmax is over the last axis."""
    xp, real = array_module(h), h.dtype.type
    if name == "relu":
        return xp.maximum(h, real(0))
    if name == "leaky_relu":
        return xp.where(h > 0, h, h * real(LEAK))
    if name == "relu6":
        return xp.minimum(xp.maximum(h, real(0)), real(6))
    if name == "softplus":
        return xp.maximum(h, real(0)) + xp.log1p(xp.exp(-abs(h)))
    if name == "tanh":
        return xp.tanh(h)
    if name == "softmax":
        e = xp.exp(h - h.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    return h


def through(g: Array, y: Array, name: str) -> Array:
    """dL/dh from g = dL/dy and y = f(h)."""
    xp, real = array_module(g), g.dtype.type
    if name == "relu":
        return g * (y > 0)
    if name == "leaky_relu":
        return g * xp.where(y > 0, real(1), real(LEAK))
    if name == "relu6":
        return g * ((y > 0) & (y < 6))
    if name == "softplus":
        return -g * xp.expm1(-y)
    if name == "tanh":
        return g * (1 - y * y)
    if name == "softmax":
        return y * (g - (g * y).sum(axis=1, keepdims=True))
    return g


def masked(values: Array, mask: Array | None) -> Array:
    """`values` with what was dropped out."""
    return values if mask is None else values * mask


def forward(
    backend: str,
    maps: Sequence[Array],
    parameters: Sequence[Array | None],
    masks: Sequence[Array | None],
    pools: Sequence[int],
    activations: tuple[str, str, str, str],
) -> tuple[Array, Array, Array, tuple[Any, ...]]:
    """What all stages say about N images.

    Parameters
    ----------
    maps : sequence of 2 K ndarray (N, H, W, channels)
        s and x of each stage, stage after stage.
    parameters : sequence of 16 K ndarray or None
        See `Parameters`.
    masks : sequence of 2 K ndarray (N, cells F) or None
        For s and x of each stage: 0 where a number is dropped, else the factor that makes up for
        it.
    pools : sequence of K int
        Windows of the fusion.
    activations : (str, str, str, str)
        f_s, f_x, f_mix ("none" without that layer), f_p, of `ACTIVATIONS`; softmax for f_p alone.

    Returns
    -------
    p, eta : ndarray (N, S_1 + ... + S_K)
    delta : ndarray (N, K)
    saved : tuple
        What `backward` of the same backend wants back.
    """
    stages = [
        stage_forward(
            backend,
            maps[2 * k],
            maps[2 * k + 1],
            of_stage(parameters, k),
            masks[2 * k : 2 * k + 2],
            pool,
            activations,
        )
        for k, pool in enumerate(pools)
    ]
    xp = array_module(maps[0])
    p, eta, delta = (
        xp.concatenate([getattr(stage, name) for stage in stages], axis=1)
        for name in ("p", "eta", "delta")
    )
    return p, eta, delta, tuple(stages)


def stage_forward(
    backend: str,
    s: Array,
    x: Array,
    w: Parameters,
    masks: Sequence[Array | None],
    pool: int,
    activations: tuple[str, str, str, str],
) -> Kept:
    """One stage of `forward`."""
    fuse = lookup("fusion_forward", backend)
    f_s, f_x, f_mix, f_p = activations
    u, fused_u = fuse(s, w.conv_s_w, w.conv_s_b, "max", pool)
    v, fused_v = fuse(x, w.conv_x_w, w.conv_x_b, "avg", pool)
    u, v = u.reshape(len(s), -1), v.reshape(len(x), -1)  # (N, cells F)
    delta = array_module(u).tanh((u * v) @ w.delta_w + w.delta_b)
    a = activated(masked(u, masks[0]) @ w.s_w + w.s_b, f_s)
    b = activated(masked(v, masks[1]) @ w.x_w + w.x_b, f_x)
    c = a * b
    if w.mix_w is not None:
        c = activated(c @ w.mix_w + w.mix_b, f_mix)
    p = activated(c @ w.p_w + w.p_b, f_p)
    eta = array_module(u).tanh(c @ w.eta_w + w.eta_b)
    return Kept(u, v, fused_u, fused_v, a, b, c, p, eta, delta)


def backward(
    backend: str,
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
    """Gradients of `forward`: of the 2 K maps, and of the 16 K parameters (None where None is)."""
    map_grads: list[Array] = []
    parameter_grads: list[Array | None] = []
    first = 0
    for k, (kept, pool) in enumerate(zip(saved, pools, strict=True)):
        last = first + kept.p.shape[1]
        of_maps, of_parameters = stage_backward(
            backend,
            (g_p[:, first:last], g_eta[:, first:last], g_delta[:, k : k + 1]),
            (maps[2 * k], maps[2 * k + 1]),
            of_stage(parameters, k),
            masks[2 * k : 2 * k + 2],
            pool,
            activations,
            kept,
        )
        map_grads += of_maps
        parameter_grads += of_parameters
        first = last
    return tuple(map_grads), tuple(parameter_grads)


def stage_backward(
    backend: str,
    grads: tuple[Array, Array, Array],
    maps: tuple[Array, Array],
    w: Parameters,
    masks: Sequence[Array | None],
    pool: int,
    activations: tuple[str, str, str, str],
    kept: Kept,
) -> tuple[tuple[Array, Array], Parameters]:
    """One stage of `backward`; `grads` are those of p, eta and delta."""
    unfuse, xp = lookup("fusion_backward", backend), array_module(maps[0])
    f_s, f_x, f_mix, f_p = activations
    h_p, h_eta = through(grads[0], kept.p, f_p), through(grads[1], kept.eta, "tanh")
    h_delta = through(grads[2], kept.delta, "tanh")  # (N, 1)
    g_c = h_p @ w.p_w.T + h_eta @ w.eta_w.T
    ab = kept.a * kept.b
    mix_w = mix_b = None
    if w.mix_w is not None:
        h_mix = through(g_c, kept.c, f_mix)
        mix_w, mix_b = ab.T @ h_mix, h_mix.sum(axis=0)
        g_c = h_mix @ w.mix_w.T
    h_s, h_x = through(g_c * kept.b, kept.a, f_s), through(g_c * kept.a, kept.b, f_x)
    both = h_delta @ w.delta_w.T  # (N, cells F), what u v gets
    g_u = masked(h_s @ w.s_w.T, masks[0]) + both * kept.v
    g_v = masked(h_x @ w.x_w.T, masks[1]) + both * kept.u

    def cells(g: Array, maps: Array) -> Array:
        """(N, cells F) -> (N, H / pool, W / pool, F)."""
        n, height, width, _ = maps.shape
        return xp.ascontiguousarray(g).reshape(n, height // pool, width // pool, -1)

    s, x = maps
    gs, conv_s_w, conv_s_b = unfuse(cells(g_u, s), s, w.conv_s_w, "max", pool, kept.fused_u)
    gx, conv_x_w, conv_x_b = unfuse(cells(g_v, x), x, w.conv_x_w, "avg", pool, kept.fused_v)
    return (gs, gx), Parameters(
        conv_s_w,
        conv_s_b,
        conv_x_w,
        conv_x_b,
        (kept.u * kept.v).T @ h_delta,
        h_delta.sum(axis=0),
        masked(kept.u, masks[0]).T @ h_s,
        h_s.sum(axis=0),
        masked(kept.v, masks[1]).T @ h_x,
        h_x.sum(axis=0),
        mix_w,
        mix_b,
        kept.c.T @ h_p,
        h_p.sum(axis=0),
        kept.c.T @ h_eta,
        h_eta.sum(axis=0),
    )
