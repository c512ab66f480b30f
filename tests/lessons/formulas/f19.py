"""The formulas of lesson 19."""

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula


@formula(r"\tilde y = L + \sum_{k=1}^{K} q_k \, \frac{U - L}{\prod_{j=1}^{k} \bar s_j}")
def any_range() -> None:
    stages, low, high = (2, 3), -45.0, 60.0
    p, eta = np.float64([[0.3, 0.7, 0.2, 0.3, 0.5]]), np.float64([[0.1, -0.4, 0.3, 0.2, -0.5]])
    delta = np.float64([[0.25, -0.5]])
    stretched = [s * (1 + d) for s, d in zip(stages, delta[0], strict=True)]
    bins = (slice(0, 2), slice(2, 5))
    q = [float(p[0, b] @ (np.arange(s) + eta[0, b])) for s, b in zip(stages, bins, strict=True)]
    ours = low + sum(q[k] * (high - low) / np.prod(stretched[: k + 1]) for k in range(2))
    inputs = map(Tensor, (p, eta, delta))
    theirs = ops.soft_stagewise_regression(*inputs, stages=stages, min_age=low, max_age=high)
    assert np.isclose(theirs.data[0], ours)
