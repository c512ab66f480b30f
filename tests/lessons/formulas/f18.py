"""The formulas of lesson 18."""

import numpy as np

from lessons.solutions import e18
from tests.lessons.formulas.registry import formula


@formula(r"S(n) = \frac{1}{(1 - a) + a / n}")
def amdahl() -> None:
    """Simulated: work of 1, of which a is divided by n; and the exercise's inverse."""
    for a in (0.0, 0.5, 0.95):
        for n in (2, 16):
            speedup = 1 / ((1 - a) + a / n)
            assert np.isclose(speedup * ((1 - a) * 1 + a * 1 / n), 1)
            assert np.isclose(e18.divisible(speedup, n), a)
