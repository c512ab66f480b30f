"""Every displayed formula agrees with the code it stands beside."""

from __future__ import annotations

import pytest

from lessons.source import lessons
from tests.lessons.formulas import registry

pytest.importorskip("sympy", reason="the formulas are evaluated with sympy: pip install sympy")

FORMULAS = [
    pytest.param(check, id=f"{lesson.number}-{check.__name__}")
    for lesson in lessons()
    for _, check in registry.of_lesson(lesson.number)
]


@pytest.mark.parametrize("check", FORMULAS)
def test_formula(check: registry.Check) -> None:
    check()
