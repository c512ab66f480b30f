"""The stem of the CUDA backend: see `composed`; its two blocks are the fused ones."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.stem import composed

stem_forward = register("stem_forward", "cupy")(partial(composed.forward, "cupy"))
stem_backward = register("stem_backward", "cupy")(partial(composed.backward, "cupy"))
