"""The fully connected layer of the Numba backend: NumPy's, which calls BLAS."""

from __future__ import annotations

from minissr.kernels import register
from minissr.kernels.dense import numpy_ref

dense_forward = register("dense_forward", "numba")(numpy_ref.dense_forward)
dense_input_grad = register("dense_input_grad", "numba")(numpy_ref.dense_input_grad)
dense_weight_grad = register("dense_weight_grad", "numba")(numpy_ref.dense_weight_grad)
dense_bias_grad = register("dense_bias_grad", "numba")(numpy_ref.dense_bias_grad)
