"""One step of the optimisers in Numba, in place on flat arrays. Formulas: see `numpy_ref`.

One pass over all numbers instead of one for each operation. Every number is on its own, so any
split among threads gives the same bits.

Each operation is rounded, as in NumPy, and none fused: in a*b + c*d either product may be, and the
compiler was seen to fuse one in a process that compiles and the other in one that loads from the
cache. A run would then depend on whether it was the first.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array
from minissr.kernels.jit import pjit, prange
from minissr.kernels.optim import numpy_ref
from minissr.kernels.optim.numpy_ref import adam_scales

gather = register("gather", "numba")(numpy_ref.gather)  # copying is as quick there

BLOCK = 8192  # numbers a thread takes at a time


@pjit(fastmath=False)
def adam(param, grad, m, v, beta1, rest1, beta2, rest2, a, e):
    count = len(param)
    for block in prange((count + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, count))
        p, g, mean, square = param[part], grad[part], m[part], v[part]
        for i in range(len(p)):
            mean[i] = beta1 * mean[i] + rest1 * g[i]
            square[i] = beta2 * square[i] + rest2 * (g[i] * g[i])
            p[i] -= a * mean[i] / (np.sqrt(square[i]) + e)


@pjit(fastmath=False)
def sgd(param, grad, velocity, lr, momentum, nesterov):
    count = len(param)
    for block in prange((count + BLOCK - 1) // BLOCK):
        part = slice(block * BLOCK, min((block + 1) * BLOCK, count))
        p, g, v = param[part], grad[part], velocity[part]
        for i in range(len(p)):
            v[i] = momentum * v[i] - lr * g[i]
            p[i] += momentum * v[i] - lr * g[i] if nesterov else v[i]


@register("adam_step", "numba")
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
    a, e = adam_scales(step, lr, beta1, beta2, eps, form)
    scalars = [param.dtype.type(s) for s in (beta1, 1 - beta1, beta2, 1 - beta2, a, e)]
    adam(param, grad, m, v, *scalars)


@register("sgd_step", "numba")
def sgd_step(
    param: Array, grad: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """Update `param` and `velocity`, each (P,), in place."""
    number = param.dtype.type
    sgd(param, grad, velocity, number(lr), number(momentum), nesterov)
