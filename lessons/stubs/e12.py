"""Your answers to lesson 12. Check one with `check("12.1")` in the notebook, or submit them all:

python -m lessons.check 12
"""

import numpy as np  # noqa: F401


def backward_index(g_q, p, eta):
    """12.1: one stage: g_q (N,) -> the gradients of p and eta, a tuple of two (N, s)."""
    return None


def backward_widths(g_w, delta, stages, V):
    """12.2: g_w (N, K), the gradients of the widths -> that of delta, (N, K)."""
    return None


def backward_age(g, p, eta, delta, stages, V, floor):
    """12.3: g (N,) -> the gradients of p, eta (N, s_1 + ... + s_K) and delta (N, K)."""
    return None


def backward_logit(g, age_part, z):
    """12.4: g, age_part, z, all (N,) -> the gradient of z, where delta = tanh(z)."""
    return None
