"""The mean errors of the Numba backend: NumPy's, since a batch's ages are a few numbers."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.loss import numpy_ref

error_forward = register("error_forward", "numba")(numpy_ref.error_forward)
error_backward = register("error_backward", "numba")(numpy_ref.error_backward)
