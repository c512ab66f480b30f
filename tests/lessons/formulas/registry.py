"""Which formulas have an evaluation."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

Check = Callable[[], None]
_collected: list[tuple[str, Check]] = []


def formula(text: str) -> Callable[[Check], Check]:
    """The decorated function evaluates this formula, and asserts that the code agrees."""

    def register(check: Check) -> Check:
        _collected.append((normal(text), check))
        return check

    return register


def of_lesson(number: str) -> list[tuple[str, Check]]:
    """The formulas of fNN.py, each with its evaluation; none if there is no such file."""
    if not (FOLDER / f"f{number}.py").is_file():
        return []
    module = importlib.import_module(f"tests.lessons.formulas.f{number}")
    return [(text, check) for text, check in _collected if check.__module__ == module.__name__]


def displayed(markdown: str) -> list[str]:
    """The formulas between double dollars."""
    return [normal(text) for text in re.findall(r"\$\$(.+?)\$\$", markdown, re.DOTALL)]


def normal(text: str) -> str:
    """The formula without white space and closing punctuation."""
    return re.sub(r"\s+", "", text).rstrip(".,;")
