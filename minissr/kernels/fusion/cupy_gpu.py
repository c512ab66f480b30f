"""One side of a fusion block on the GPU: see `composed`."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.fusion import composed

fusion_forward = register("fusion_forward", "cupy")(partial(composed.forward, "cupy"))
fusion_backward = register("fusion_backward", "cupy")(partial(composed.backward, "cupy"))
