"""What follows a stream's convolution: activation and pooling, of registers."""

from __future__ import annotations

import numpy as np

from minissr.kernels.jit import njit
from minissr.kernels.simd import add, maximum, multiply, splat, tanh, zeros

STREAMS = X, S = 0, 1  # ReLU and average pooling; tanh and maximum pooling
QUARTER = np.float32(0.25)


@njit(forceinline=True)
def pooled(h0, h1, h2, h3, stream):
    """One pooled register of a window of four."""
    if stream == S:
        return tanh(maximum(maximum(h0, h1), maximum(h2, h3)))
    low = zeros()
    upper = add(maximum(h0, low), maximum(h1, low))
    return multiply(add(upper, add(maximum(h2, low), maximum(h3, low))), splat(QUARTER))
