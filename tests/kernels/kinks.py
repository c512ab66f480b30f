"""Where a derivative jumps: at a ReLU's 0 and where two pixels of a pooling window are the largest.

There float32 may stand on the other side than float64, and gradients that are both right differ.
The margins tell how far a case is from that; a test of gradients leaves out what is too near.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels import lookup
from minissr.kernels.head.composed import Parameters, masked, of_stage

SURE = 3e-5  # no rounding of float32 moves a number near 1 so far
BENDS = {"relu": (0.0,), "leaky_relu": (0.0,), "relu6": (0.0, 6.0)}  # of the others no point


def bend_margin(z: np.ndarray, activation: str) -> np.ndarray:
    """Distance of `z` (..., C) from the nearest bend, for each channel (C,)."""
    bends = BENDS.get(activation, ())
    each = [abs(z - bend).min(tuple(range(z.ndim - 1))) for bend in bends]
    return np.min(each, axis=0) if each else np.full(z.shape[-1], np.inf)


def tie_margin(z: np.ndarray, window: int) -> np.ndarray:
    """The least lead of a window's largest pixel, of maps (N, H, W, C), for each channel (C,)."""
    n, h, w, c = z.shape
    rows, columns = h // window, w // window
    if window == 1:
        return np.full(c, np.inf)
    cut = z[:, : rows * window, : columns * window].reshape(n, rows, window, columns, window, c)
    pixels = cut.transpose(0, 1, 3, 5, 2, 4).reshape(n, rows, columns, c, window * window)
    ranked = np.sort(pixels, axis=-1)
    return (ranked[..., -1] - ranked[..., -2]).min((0, 1, 2))


def block_is_sure(
    conv: np.ndarray, normed_by: tuple[np.ndarray, ...], eps: float, activation: str, pool: str
) -> np.ndarray:
    """The filters (CO,) of a stream block far from any kink.

    `normed_by` is mean, var, gamma, beta.
    """
    mean, var, gamma, beta = normed_by
    z = (conv - mean) / np.sqrt(var + eps) * gamma + beta
    margin = bend_margin(z, activation)
    return (np.minimum(margin, tie_margin(z, 2)) if pool == "max" else margin) > SURE


def fusion_is_sure(x: Any, w: Any, bias: Any, pool: str, window: int) -> bool:
    """Whether a fusion (ReLU, then pooling) is far from any kink."""
    z = x @ w[0, 0] + bias
    margin = bend_margin(z, "relu")
    return bool(
        (np.minimum(margin, tie_margin(z, window)) if pool == "max" else margin).min() > SURE
    )


def head_is_sure(maps: Any, parameters: Any, masks: Any, pools: Any, activations: Any) -> bool:
    """Whether all layers of a head are, computed in the float64 of its arguments."""
    forward = lookup("head_forward", "numpy")
    *_, kept = forward(maps, parameters, masks, pools, activations)
    return all(
        stage_is_sure(
            maps[2 * k : 2 * k + 2],
            of_stage(parameters, k),
            masks[2 * k : 2 * k + 2],
            pool,
            activations,
            kept[k],
        )
        for k, pool in enumerate(pools)
    )


def stage_is_sure(
    maps: Any, w: Parameters, masks: Any, pool: int, activations: Any, kept: Any
) -> bool:
    """One stage of `head_is_sure`."""
    if not fusion_is_sure(maps[0], w.conv_s_w, w.conv_s_b, "max", pool):
        return False
    if not fusion_is_sure(maps[1], w.conv_x_w, w.conv_x_b, "avg", pool):
        return False
    f_s, f_x, f_mix, f_p = activations
    layers = [
        (f_s, masked(kept.u, masks[0]), w.s_w, w.s_b),
        (f_x, masked(kept.v, masks[1]), w.x_w, w.x_b),
        (f_p, kept.c, w.p_w, w.p_b),
    ]
    if w.mix_w is not None:
        layers.append((f_mix, kept.a * kept.b, w.mix_w, w.mix_b))
    return all(bend_margin(x @ m + b, name).min() > SURE for name, x, m, b in layers)
