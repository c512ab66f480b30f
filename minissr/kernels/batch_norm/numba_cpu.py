"""Batch normalisation over the last axis in Numba. Equations: see `numpy_ref`.

Everything runs over the rows in chunks whose number depends on the number of rows alone. A sum over
the rows is one float64 sum a chunk, four rows a trip, and the chunks added in order: accurate, and
the same bits on any number of threads. No operation is fused with another, for the reason given in
`optim.numba_cpu`; memory sets the pace anyway.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.batch_norm import numpy_ref
from minissr.kernels.batch_norm.numpy_ref import rows, scale_of
from minissr.kernels.geometry import Array
from minissr.kernels.jit import pjit, prange

# A few numbers a layer: nothing to share out among threads.
batch_norm_follow = register("batch_norm_follow", "numba")(numpy_ref.batch_norm_follow)

CHUNKS = 64  # at most so many
CHUNK_ROWS = 256  # ... of at least so many rows


def chunk_count(count: int) -> int:
    """The number of chunks for `count` rows."""
    return max(1, min(CHUNKS, count // CHUNK_ROWS))


@pjit(fastmath=False)
def add_rows(x, sums):
    """sums[chunk] (C,) += the rows of the chunk."""
    chunks, count = len(sums), len(x)
    for chunk in prange(chunks):
        first, end = chunk * count // chunks, (chunk + 1) * count // chunks
        total = sums[chunk]
        for m in range(first, end - 3, 4):
            a, b, c, d = x[m], x[m + 1], x[m + 2], x[m + 3]
            for i in range(len(total)):
                total[i] += (np.float64(a[i]) + b[i]) + (np.float64(c[i]) + d[i])
        for m in range(end - (end - first) % 4, end):
            a = x[m]
            for i in range(len(total)):
                total[i] += a[i]


@pjit(fastmath=False)
def add_squares(x, mean, sums):
    """sums[chunk] (C,) += the squared distances from `mean` of the rows of the chunk."""
    chunks, count = len(sums), len(x)
    for chunk in prange(chunks):
        first, end = chunk * count // chunks, (chunk + 1) * count // chunks
        total = sums[chunk]
        for m in range(first, end - 3, 4):
            a, b, c, d = x[m], x[m + 1], x[m + 2], x[m + 3]
            for i in range(len(total)):
                p, q = np.float64(a[i] - mean[i]), np.float64(b[i] - mean[i])
                r, s = np.float64(c[i] - mean[i]), np.float64(d[i] - mean[i])
                total[i] += (p * p + q * q) + (r * r + s * s)
        for m in range(end - (end - first) % 4, end):
            a = x[m]
            for i in range(len(total)):
                p = np.float64(a[i] - mean[i])
                total[i] += p * p


@pjit(fastmath=False)
def add_products(gy, x, mean, sums):
    """sums[chunk] (2, C) += gy and gy (x - mean) of the rows of the chunk."""
    chunks, count = len(sums), len(x)
    for chunk in prange(chunks):
        first, end = chunk * count // chunks, (chunk + 1) * count // chunks
        total, product = sums[chunk, 0], sums[chunk, 1]
        for m in range(first, end - 1, 2):
            a, b, p, q = x[m], x[m + 1], gy[m], gy[m + 1]
            for i in range(len(total)):
                g, h = np.float64(p[i]), np.float64(q[i])
                total[i] += g + h
                product[i] += g * (a[i] - mean[i]) + h * (b[i] - mean[i])
        for m in range(end - (end - first) % 2, end):
            a, p = x[m], gy[m]
            for i in range(len(total)):
                g = np.float64(p[i])
                total[i] += g
                product[i] += g * (a[i] - mean[i])


@pjit(fastmath=False)
def affine(x, mean, scale, shift, chunks, y):
    """y = (x - mean) scale + shift."""
    count = len(x)
    for chunk in prange(chunks):
        for m in range(chunk * count // chunks, (chunk + 1) * count // chunks):
            a, out = x[m], y[m]
            for i in range(len(out)):
                out[i] = (a[i] - mean[i]) * scale[i] + shift[i]


@pjit(fastmath=False)
def combine(gy, x, mean, direct, slope, shift, chunks, gx):
    """gx = gy direct - (x - mean) slope - shift."""
    count = len(x)
    for chunk in prange(chunks):
        for m in range(chunk * count // chunks, (chunk + 1) * count // chunks):
            g, a, out = gy[m], x[m], gx[m]
            for i in range(len(out)):
                out[i] = g[i] * direct[i] - (a[i] - mean[i]) * slope[i] - shift[i]


def parameter_grads(
    gy: Array, x: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """ggamma (C,), gbeta (C,)."""
    count, channels = rows(x).shape
    sums = np.zeros((chunk_count(count), 2, channels), np.float64)
    add_products(rows(gy), rows(x), mean, sums)
    gbeta, product = sums.sum(axis=0)
    return (product / np.sqrt(var + eps)).astype(x.dtype), gbeta.astype(x.dtype)


@register("batch_norm_train_forward", "numba")
def batch_norm_train_forward(
    x: Array, gamma: Array, beta: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Normalise `x` (..., C) by its own statistics: y (..., C), mean (C,), biased variance (C,)."""
    count, channels = rows(x).shape
    sums = np.zeros((2, chunk_count(count), channels), np.float64)
    add_rows(rows(x), sums[0])
    mean = (sums[0].sum(axis=0) / count).astype(x.dtype)
    add_squares(rows(x), mean, sums[1])
    var = (sums[1].sum(axis=0) / count).astype(x.dtype)
    return batch_norm_eval_forward(x, gamma, beta, mean, var, eps), mean, var


@register("batch_norm_train_backward", "numba")
def batch_norm_train_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being functions of x."""
    ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    count, scale, gx = rows(x).shape[0], scale_of(gamma, var, eps), np.empty_like(x)
    slope = scale * ggamma / np.sqrt(var + eps) / count
    shift = scale * gbeta / count
    combine(rows(gy), rows(x), mean, scale, slope, shift, chunk_count(count), rows(gx))
    return gx, ggamma, gbeta


@register("batch_norm_eval_forward", "numba")
def batch_norm_eval_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> Array:
    """Normalise `x` (..., C) by the given statistics."""
    y = np.empty_like(x)
    scale = scale_of(gamma, var, eps)
    affine(rows(x), mean, scale, beta, chunk_count(rows(x).shape[0]), rows(y))
    return y


@register("batch_norm_eval_backward", "numba")
def batch_norm_eval_backward(
    gy: Array, x: Array, gamma: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients gx (..., C), ggamma (C,), gbeta (C,), the statistics being constants."""
    ggamma, gbeta = parameter_grads(gy, x, mean, var, eps)
    gx, none = np.empty_like(x), np.zeros_like(mean)
    scale = scale_of(gamma, var, eps)
    affine(rows(gy), none, scale, none, chunk_count(rows(x).shape[0]), rows(gx))
    return gx, ggamma, gbeta
