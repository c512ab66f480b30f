"""minissr: SSR-Net from scratch, a person's age from a 64x64 face with 40,915 numbers.

The names below load the part they come from when they are first used, so that importing the
package costs nothing and needs nothing but NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Tensor": "minissr.autograd.tensor",
    "no_grad": "minissr.autograd.function",
    "gradcheck": "minissr.autograd.gradcheck",
    "use_backend": "minissr.kernels.backend",
    "load": "minissr.estimator",
}

__all__ = ["Tensor", "__version__", "gradcheck", "load", "no_grad", "use_backend"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minissr' has no attribute {name!r}")
    # importlib binds submodules as attributes; the function `gradcheck` must win over its module.
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
