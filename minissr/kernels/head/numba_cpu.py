"""The head of the Numba backend: composed, of the fused fusion; see `composed`."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.head import composed

head_forward = register("head_forward", "numba")(partial(composed.forward, "numba"))
head_backward = register("head_backward", "numba")(partial(composed.backward, "numba"))
