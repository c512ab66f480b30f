"""Activations, softmax and pixels of the Numba backend: NumPy's own loops, element by element."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.pointwise import numpy_ref

activation_forward = register("activation_forward", "numba")(numpy_ref.activation_forward)
activation_backward = register("activation_backward", "numba")(numpy_ref.activation_backward)
softmax_forward = register("softmax_forward", "numba")(numpy_ref.softmax_forward)
softmax_backward = register("softmax_backward", "numba")(numpy_ref.softmax_backward)
pixels_to_float = register("pixels_to_float", "numba")(numpy_ref.pixels_to_float)
