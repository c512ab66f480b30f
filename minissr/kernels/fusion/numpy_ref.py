"""One side of a fusion block for the NumPy backend: see `composed`, where every step is."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.fusion import composed

fusion_forward = register("fusion_forward", "numpy")(partial(composed.forward, "numpy"))
fusion_backward = register("fusion_backward", "numpy")(partial(composed.backward, "numpy"))
