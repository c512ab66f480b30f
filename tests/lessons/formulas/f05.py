"""Lesson 05: how many multiplications a tile of registers does for each load."""

from __future__ import annotations

from lessons.exercises.e05 import tile
from tests.lessons.formulas.registry import formula


@formula(r"\text{multiplications per load} = \frac{P V}{P + V}, \qquad P V + V + 1 \le R")
def tiles() -> None:
    import sympy as sp

    p, v = sp.symbols("P V", positive=True)
    ratio = p * v / (p + v)
    # Of a given number of sums s = P V the square tile has the most.
    s = sp.symbols("s", positive=True)
    of_s = sp.simplify(ratio.subs(p, s / v))
    assert sp.solve(sp.diff(of_s, v), v) == [sp.sqrt(s)]
    assert tile(32, 5) == (5, 5)
    assert 5 * 5 + 5 + 1 <= 32 < 6 * 5 + 5 + 1
    assert tile(16, 5) == (4, 3)
