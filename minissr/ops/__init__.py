"""The differentiable operations, one class each, with a plain function beside it to call.

Every backward is derived by hand in the docstring of its class and checked against finite
differences on every backend. The names below load their module on first use; no module may have
the name of an operation, or importing the module would put it in the operation's place.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "basic": "add subtract multiply divide negate power exp log absolute clip",
    "linear": "matmul dense",
    "arrange": "sum mean reshape flatten transpose index concat cast",
    "activation": "relu relu6 leaky_relu tanh sigmoid softplus softmax log_softmax dropout",
    "conv": "conv2d",
    "pool": "max_pool avg_pool global_avg_pool",
    "norm": "batch_norm",
    "loss": "mae mse huber cross_entropy kl_divergence binary_cross_entropy",
    "stagewise": "soft_stagewise_regression",
    "spread": "stagewise_variance normal_divergence",
    "block": "stream_block stream_block_answer stem",
    "fuse": "fusion",
    "head": "stage_answers",
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"minissr.ops has no operation {name!r}")
    value = getattr(importlib.import_module(f"minissr.ops.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
