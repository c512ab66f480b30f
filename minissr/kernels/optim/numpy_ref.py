"""One step of the optimisers in NumPy, in place on flat arrays: the reference.

Adam (Kingma & Ba 2015, Alg. 1), with g the gradient and t = 1, 2, ... the step:

    m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2

    "pytorch"  p = p - lr mhat / (sqrt(vhat) + eps),   mhat = m / (1 - b1^t),  vhat = v / (1 - b2^t)
    "keras"    p = p - lr_t m / (sqrt(v) + eps),       lr_t = lr sqrt(1 - b2^t) / (1 - b1^t)

The second is the form "before section 2.1" of the paper and what the authors of SSR-Net trained
with. The two differ in what eps is added to: Keras's eps acts as eps / sqrt(1 - b2^t) in the first,
up to 32 times larger in the early steps.

Stochastic gradient descent with momentum, in the form of Keras: the velocity is in units of the
parameter, with the learning rate of its own day in it,

    v = momentum v - lr g        p = p + v        (nesterov: p = p + momentum v - lr g)

PyTorch leaves lr out of the velocity and multiplies by today's; the two agree while lr is constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minissr.kernels import register
from minissr.kernels.geometry import Array


def adam_scales(
    step: int, lr: float, beta1: float, beta2: float, eps: float, form: str
) -> tuple[float, float]:
    """(a, e) such that both forms read p = p - a m / (sqrt(v) + e)."""
    root = math.sqrt(1 - beta2**step)
    if form == "keras":
        return lr * root / (1 - beta1**step), eps
    if form == "pytorch":  # numerator and denominator multiplied by `root`
        return lr * root / (1 - beta1**step), eps * root
    raise ValueError(f"Adam form {form!r} is neither keras nor pytorch")


@register("gather", "numpy")
def gather(parts: Sequence[Array | None], starts: Sequence[int], flat: Array) -> None:
    """Copy arrays one after the other into `flat` (P,), part i from starts[i] on; None is zeros."""
    for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
        flat[start:stop] = 0 if part is None else part.reshape(-1)


@register("adam_step", "numpy")
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
    m[...] = beta1 * m + (1 - beta1) * grad
    v[...] = beta2 * v + (1 - beta2) * grad**2
    a, e = adam_scales(step, lr, beta1, beta2, eps, form)
    param -= a * m / (np.sqrt(v) + e)


@register("sgd_step", "numpy")
def sgd_step(
    param: Array, grad: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """Update `param` and `velocity`, each (P,), in place."""
    velocity[...] = momentum * velocity - lr * grad
    param += momentum * velocity - lr * grad if nesterov else velocity
