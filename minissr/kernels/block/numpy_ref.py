"""The stream block of the NumPy backend: see `composed`, where every step is."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.block import composed

block_forward = register("block_forward", "numpy")(partial(composed.forward, "numpy"))
block_backward = register("block_backward", "numpy")(partial(composed.backward, "numpy"))
block_eval_forward = register("block_eval_forward", "numpy")(
    partial(composed.eval_forward, "numpy")
)
