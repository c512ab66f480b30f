"""The kernel table: (kernel, backend) -> function.

A kernel is plain arithmetic: arrays in, arrays out, no knowledge of tensors or gradients. Each
family is a folder with one module a backend, and the versions of a kernel sit side by side:
`numpy_ref.py` reads like the equations, `numba_cpu.py` is fast on a CPU, `cupy_gpu.py` launches
the CUDA of the `.cu` file beside it. Modules are imported when one of their kernels is first
looked up, so nothing is compiled or imported that isn't used.

Contract of every kernel: inputs are C-contiguous and of one float dtype (uint8 only where a
kernel says so); inputs are never modified and results are newly allocated, except by the
optimiser steps and the moving statistics, which work in place, and an argument named `onto`: a
gradient is added to it in place, and it is returned for that gradient; the same inputs give the
same bits with any number of threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

BACKENDS = ("numpy", "numba", "cupy")
MODULES = {"numpy": "numpy_ref", "numba": "numba_cpu", "cupy": "cupy_gpu"}

# Kernel -> the folder it lives in. All backends list the same names.
KERNELS = {
    "conv2d_forward": "conv2d",
    "conv2d_input_grad": "conv2d",
    "conv2d_weight_grad": "conv2d",
    "max_pool_forward": "pool2d",
    "max_pool_backward": "pool2d",
    "avg_pool_forward": "pool2d",
    "avg_pool_backward": "pool2d",
    "batch_norm_train_forward": "batch_norm",
    "batch_norm_train_backward": "batch_norm",
    "batch_norm_eval_forward": "batch_norm",
    "batch_norm_eval_backward": "batch_norm",
    "batch_norm_follow": "batch_norm",
    "block_forward": "block",
    "block_backward": "block",
    "block_eval_forward": "block",
    "stem_forward": "stem",
    "stem_backward": "stem",
    "fusion_forward": "fusion",
    "fusion_backward": "fusion",
    "head_forward": "head",
    "head_backward": "head",
    "stagewise_forward": "stagewise",
    "stagewise_backward": "stagewise",
    "activation_forward": "pointwise",
    "activation_backward": "pointwise",
    "softmax_forward": "pointwise",
    "softmax_backward": "pointwise",
    "pixels_to_float": "pointwise",
    "dense_forward": "dense",
    "dense_input_grad": "dense",
    "dense_weight_grad": "dense",
    "dense_bias_grad": "dense",
    "error_forward": "loss",
    "error_backward": "loss",
    "gather": "optim",
    "adam_step": "optim",
    "sgd_step": "optim",
    "warp_affine": "warp",
}

# (kernel, backend) -> why that backend has no such kernel. Tested: nothing else may be missing.
GAPS: dict[tuple[str, str], str] = {}

F = TypeVar("F", bound=Callable[..., Any])
_table: dict[tuple[str, str], Callable[..., Any]] = {}


def register(name: str, backend: str) -> Callable[[F], F]:
    """Enter the decorated function into the table as kernel `name` of `backend`."""
    if name not in KERNELS:
        raise KeyError(f"kernel {name!r} is not listed in minissr.kernels.KERNELS")
    if backend not in BACKENDS:
        raise KeyError(f"backend {backend!r} is none of {', '.join(BACKENDS)}")

    def enter(function: F) -> F:
        _table[name, backend] = function
        return function

    return enter


def lookup(name: str, backend: str) -> Callable[..., Any]:
    """The function for kernel `name` on `backend`; its module is imported on first use."""
    try:
        return _table[name, backend]
    except KeyError:
        pass
    if name not in KERNELS:
        raise KeyError(f"no kernel {name!r}")
    if (name, backend) in GAPS:
        raise NotImplementedError(f"{name} on {backend}: {GAPS[name, backend]}")
    importlib.import_module(f"minissr.kernels.{KERNELS[name]}.{MODULES[backend]}")
    return _table[name, backend]
