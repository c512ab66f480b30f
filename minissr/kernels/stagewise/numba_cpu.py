"""Soft stagewise regression in Numba. Equations: see `numpy_ref`.

A batch is a few thousand numbers, less work than waking a second thread, so the loops are serial.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array
from minissr.kernels.jit import njit


@njit
def regress(p, eta, delta, stages, min_age, span, c_delta, c_eta, floor, age, width, index):
    zero, one = p.dtype.type(0), p.dtype.type(1)
    for n in range(len(age)):
        w, y, first = span, min_age, 0
        for k in range(len(stages)):
            stretch = one + c_delta * delta[n, k]
            if stretch <= floor:
                stretch = floor
            w, q = w / (p.dtype.type(stages[k]) * stretch), zero  # Eqs. 4, 5
            for i in range(stages[k]):
                q += p[n, first + i] * (p.dtype.type(i) + c_eta * eta[n, first + i])  # Eq. 6
            y += w * q  # Eq. 7
            width[n, k], index[n, k] = w, q
            first += stages[k]
        age[n] = y


@njit
def regress_backward(
    g_age, p, eta, delta, width, index, stages, c_delta, c_eta, floor, gp, geta, gdelta
):
    zero, one = p.dtype.type(0), p.dtype.type(1)
    for n in range(len(g_age)):
        g, end = g_age[n], p.shape[1]
        finer = zero  # sum over the stages from k on
        for k in range(len(stages) - 1, -1, -1):
            g_index, first = g * width[n, k], end - stages[k]
            for i in range(stages[k]):
                gp[n, first + i] = g_index * (p.dtype.type(i) + c_eta * eta[n, first + i])
                geta[n, first + i] = g_index * p[n, first + i] * c_eta
            finer += width[n, k] * index[n, k]
            stretch = one + c_delta * delta[n, k]
            if stretch > floor:
                gdelta[n, k] = -g * (c_delta / stretch) * finer
            end = first


@register("stagewise_forward", "numba")
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
    age, width, index = np.empty(len(p), p.dtype), np.empty_like(delta), np.empty_like(delta)
    span, number = max_age - min_age, p.dtype.type  # every number in the dtype of the arrays
    scalars = number(c_delta), number(c_eta), number(floor)
    s = np.asarray(stages, np.int64)
    regress(p, eta, delta, s, number(min_age), number(span), *scalars, age, width, index)
    return age, width, index


@register("stagewise_backward", "numba")
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
    gp, geta, gdelta = np.empty_like(p), np.empty_like(eta), np.zeros_like(delta)
    number = p.dtype.type
    scalars = number(c_delta), number(c_eta), number(floor)
    s = np.asarray(stages, np.int64)
    regress_backward(g_age, p, eta, delta, width, index, s, *scalars, gp, geta, gdelta)
    return gp, geta, gdelta
