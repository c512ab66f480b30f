"""The stem of the NumPy backend: see `composed`, where every step is."""

from __future__ import annotations

from functools import partial

from minissr.kernels import register
from minissr.kernels.stem import composed

stem_forward = register("stem_forward", "numpy")(partial(composed.forward, "numpy"))
stem_backward = register("stem_backward", "numpy")(partial(composed.backward, "numpy"))
