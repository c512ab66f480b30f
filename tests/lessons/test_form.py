"""Every lesson has the same frame, small cells, modest imports, and numbers that come from code."""

from __future__ import annotations

import ast
import json
import re
import sys

import pytest

from lessons import readme
from lessons.source import FOLDER, Lesson, lessons
from tests.lessons.formulas import registry

LESSONS = lessons()
SECTIONS = ["Goal", "What you need", "In the paper", "Break it", "Exercises", "What we learned",
            "Next"]  # fmt: skip
MOST_LINES = 25
NUMPY_LESSONS = {f"{n:02d}" for n in (1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13)}
NUMPY_IMPORTS = {"numpy", "minissr", "lessons"}

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)


@every_lesson
def test_the_frame_is_there(lesson: Lesson) -> None:
    assert lesson.cells[0].kind == "markdown"
    assert lesson.title
    assert lesson.question.endswith("?")
    assert 10 <= lesson.minutes <= 30
    headings = re.findall(r"^## (.+)$", lesson.markdown, re.MULTILINE)
    assert [h for h in headings if h in SECTIONS] == SECTIONS
    assert headings[0] == "Goal"
    assert headings[-1] == "Next"


@every_lesson
def test_cells_are_small(lesson: Lesson) -> None:
    for cell in lesson.code:
        lines = cell.text.splitlines()
        assert lines, f"an empty cell at line {cell.line}"
        assert len(lines) <= MOST_LINES, f"{len(lines)} lines at {lesson.path.name}:{cell.line}"
    assert 12 <= len(lesson.code) <= 45


@every_lesson
def test_predict_then_run(lesson: Lesson) -> None:
    """A prediction is the last paragraph before the code that answers it."""
    asked = 0
    for cell, following in zip(lesson.cells, lesson.cells[1:], strict=False):
        if "**Predict.**" in cell.text:
            last = cell.text.split("\n\n")[-1]
            assert last.startswith("**Predict.**"), f"{lesson.path.name}:{cell.line}"
            assert following.kind == "code"
            asked += 1
    assert asked >= 2


@every_lesson
def test_there_is_a_figure(lesson: Lesson) -> None:
    assert any("style.show(" in cell.text for cell in lesson.code)


@every_lesson
def test_imports_are_what_the_lesson_says_it_needs(lesson: Lesson) -> None:
    named: set[str] = set()
    for cell in lesson.code:
        for node in ast.walk(ast.parse(cell.text)):
            if isinstance(node, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named.add((node.module or "").partition(".")[0])
    named -= set(sys.stdlib_module_names)
    outside = named - NUMPY_IMPORTS - {"tests"}  # lesson 06 runs the emulator, which is a test's
    for package in outside:
        assert package in lesson.needs.lower(), f"needs {package}"
    if lesson.number in NUMPY_LESSONS:
        assert named <= NUMPY_IMPORTS
        assert "numpy_alone=True" in lesson.code[0].text


@every_lesson
def test_its_exercises_are_in_the_text(lesson: Lesson) -> None:
    from lessons.check import of_lesson

    numbers = [asked.number for asked in of_lesson(lesson.number)]
    assert 3 <= len(numbers) <= 5
    assert re.findall(r"\*\*Exercise (\d\d\.\d)", lesson.markdown) == numbers
    for number in numbers:
        assert any(f'check("{number}"' in cell.text for cell in lesson.code)


# A decimal, a thousands comma, or three digits and more. Not part of a name, a range of numbers
# in code, a link or an exercise.
NUMBER = re.compile(r"(?<![\w.,/\-])(\d{1,3}(?:,\d{3})+|\d+\.\d+|\d{3,})(?![\w/]|\.\d)")
NOT_PROSE = [
    r"```.*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\$[^$]*\$", r"\]\([^)]*\)",
    r"\*\*Exercise \d\d\.\d(?:.+\n?)*", r"^#+ .*$", r"Sections? [\d.]+(?:(?:,| and| to) [\d.]+)*",
    r"[Ll]essons? \d\d", r"(?:et al\.,?|[A-Z][a-z]+,?) \(?(?:19|20)\d\d",
]  # fmt: skip


def prose_numbers(markdown: str) -> set[str]:
    for pattern in NOT_PROSE:
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL if "```" in pattern or r"\$\$" in
                          pattern else re.MULTILINE)  # fmt: skip
    return set(NUMBER.findall(markdown))


def shown(lesson: Lesson) -> str:
    """All code of a lesson and all text its cells printed, thousands commas taken out."""
    notebook = json.loads(lesson.path.with_suffix(".ipynb").read_text("utf-8"))
    texts = [cell.text for cell in lesson.code]
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            texts.append("".join(output.get("text", ())))
            data = output.get("data", {})
            texts.append("".join(data.get("text/plain", ())))
    return re.sub(r"(?<=\d)[,_](?=\d{3})", "", "\n".join(texts))


@every_lesson
def test_numbers_in_prose_are_computed(lesson: Lesson) -> None:
    known = set(re.findall(r"\d+(?:\.\d+)?", shown(lesson)))
    for number in prose_numbers(lesson.markdown):
        assert number.replace(",", "") in known, f"{number} is in the text, but nothing computes it"


def test_numbers_are_found() -> None:
    text = "There are 40,915 numbers, 2.5 years, 1000 trees; `12345`; $3.14$; lesson 05; 64x64."
    assert prose_numbers(text) == {"40,915", "2.5", "1000"}


@every_lesson
def test_every_formula_is_evaluated(lesson: Lesson) -> None:
    known = [text for text, _ in registry.of_lesson(lesson.number)]
    assert sorted(registry.displayed(lesson.markdown)) == sorted(known)


@every_lesson
def test_the_notebook_has_the_source_in_it(lesson: Lesson) -> None:
    notebook = json.loads(lesson.path.with_suffix(".ipynb").read_text("utf-8"))
    built = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in notebook["cells"]]
    assert built == [(cell.kind, cell.text) for cell in lesson.cells]


@every_lesson
def test_figures_have_words(lesson: Lesson) -> None:
    notebook = json.loads(lesson.path.with_suffix(".ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                alt = output["metadata"]["image/png"]["alt"]
                assert len(alt.split()) >= 6


def test_the_table_is_current() -> None:
    assert readme.current(LESSONS)


def test_nothing_of_a_learner_is_committed() -> None:
    assert "lessons/my/" in (FOLDER.parent / ".gitignore").read_text("utf-8").split()
