"""The head of the NumPy backend: composed; see `composed`."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.head import composed

head_forward = register("head_forward", "numpy")(partial(composed.forward, "numpy"))
head_backward = register("head_backward", "numpy")(partial(composed.backward, "numpy"))
