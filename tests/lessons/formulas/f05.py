"""Lesson 05: multiplications for each load of a tile, and fewer of them."""

from __future__ import annotations

from typing import Any

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


def symbols() -> tuple[list[Any], list[Any]]:
    import sympy as sp

    return list(sp.symbols("d0:4")), list(sp.symbols("g0:3"))


@formula(
    r"m_0 = (d_0 - d_2)\,g_0 \quad m_1 = (d_1 + d_2)\tfrac{g_0 + g_1 + g_2}{2} \quad"
    r"m_2 = (d_2 - d_1)\tfrac{g_0 - g_1 + g_2}{2} \quad m_3 = (d_1 - d_3)\,g_2"
)
def products() -> None:
    """The package's matrices make the same four factors of weights, and of inputs."""
    import sympy as sp

    from tests.kernels.test_inference_blocks import B, winograd

    d, g = symbols()
    inputs, weights = sp.Matrix(B) * sp.Matrix(d), sp.Matrix(winograd.G) * sp.Matrix(g)
    by_hand = [
        (d[0] - d[2]) * g[0],
        (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2,
        (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2,
        (d[1] - d[3]) * g[2],
    ]
    for product, i, w in zip(by_hand, inputs, weights, strict=True):
        assert sp.expand(sp.nsimplify(i * w) - product) == 0


@formula(r"y_0 = m_0 + m_1 + m_2 \qquad y_1 = m_1 - m_2 - m_3")
def two_of_four() -> None:
    """The solution's results are the sums of three products each."""
    import sympy as sp

    from lessons.solutions.e05 import two_results

    d, g = symbols()
    for j, y in enumerate(two_results(d, g)):
        assert sp.expand(y - sum(d[j + i] * g[i] for i in range(3))) == 0
