"""Lesson 03: Taylor's formula, the best step, a direction, the bend at a kink."""

from __future__ import annotations

import numpy as np

from tests.lessons.formulas.registry import formula


@formula(r"\frac{f(x+h) - f(x-h)}{2h} = f'(x) + \frac{h^2}{6} f'''(x) + O(h^4)")
def central_difference() -> None:
    import sympy as sp

    x, h = sp.symbols("x h")
    for f in (sp.exp, sp.sin, lambda z: 27 / (1 + z)):
        central = (f(x + h) - f(x - h)) / (2 * h)
        right = sp.diff(f(x), x) + h**2 / 6 * sp.diff(f(x), x, 3)
        remainder = sp.series(central - right, h, 0, 4).removeO()
        assert sp.simplify(remainder) == 0


@formula(r"h^* = \left( \frac{3\, \varepsilon\, |f|}{|f'''|} \right)^{1/3}")
def best_step() -> None:
    import sympy as sp

    h, eps, f, third = sp.symbols("h epsilon f t", positive=True)
    total = eps * f / h + h**2 * third / 6
    best = (3 * eps * f / third) ** sp.Rational(1, 3)
    assert sp.simplify(sp.diff(total, h).subs(h, best)) == 0
    assert sp.simplify(sp.diff(total, h, 2).subs(h, best)).is_positive


@formula(r"\frac{f(x + h u) - f(x - h u)}{2h} \approx \sum_i \frac{\partial f}{\partial x_i} u_i")
def along_a_direction() -> None:
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 50))
    tried = (np.sin(x + 1e-5 * u).sum() - np.sin(x - 1e-5 * u).sum()) / 2e-5
    assert np.isclose(tried, (np.cos(x) * u).sum(), rtol=1e-8)


@formula(r"B(h) = \frac{f(x+h) - f(x)}{h} - \frac{f(x) - f(x-h)}{h}")
def bend() -> None:
    import sympy as sp

    x, h = sp.symbols("x h", positive=True)

    def b(f):
        return (f(x + h) - f(x)) / h - (f(x) - f(x - h)) / h

    assert sp.simplify(sp.limit(b(sp.exp) / h, h, 0) - sp.exp(x)) == 0

    def relu(z):
        return sp.Max(z, 0)

    assert sp.simplify(b(relu).subs(x, 0)) == 1
