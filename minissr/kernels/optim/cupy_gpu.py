"""One step of the optimisers on the GPU, in place: one thread a parameter (optim.cu)."""

from __future__ import annotations

from typing import Any

from minissr.kernels import cuda, register
from minissr.kernels.optim.numpy_ref import adam_scales

Array = Any  # cupy.ndarray

OPTIM = cuda.Program(__file__, "optim.cu")
THREADS = 256


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
