"""What the build refuses, and that it would notice a notebook that is not its source's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lessons import checking, style
from lessons.source import Lesson, lessons, read

pytest.importorskip("jupytext", reason="notebooks are built with pip install '.[lessons]'")
pytest.importorskip("nbclient", reason="notebooks are built with pip install '.[lessons]'")

from lessons import build

FIRST = lessons()[0]


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.number)
def test_our_reading_of_the_source_is_jupytexts(lesson: Lesson) -> None:
    cells = build.from_source(lesson).cells
    assert [(c.cell_type, c.source) for c in cells] == [(c.kind, c.text) for c in lesson.cells]


def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    changed = tmp_path / FIRST.path.name
    changed.write_text(FIRST.path.read_text("utf-8").replace("Goal", "Aim"), "utf-8")
    (tmp_path / build.target(FIRST).name).write_bytes(build.target(FIRST).read_bytes())
    lesson = read(changed)
    with pytest.raises(build.BuildError, match=r"cell 0 of .* differs from its source"):
        build.compare(lesson, build.from_source(lesson))
    build.compare(FIRST, build.from_source(FIRST))


def outputs(*parts: dict[str, Any]) -> Any:
    """The notebook of the first lesson, with these under its first code cell."""
    import nbformat

    notebook = build.from_source(FIRST)
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    cell.outputs = [nbformat.from_dict({"output_type": "stream", **part}) for part in parts]
    return notebook, cell


def test_warnings_and_long_prints_are_refused() -> None:
    notebook, _ = outputs({"name": "stderr", "text": "a warning"})
    with pytest.raises(build.BuildError, match="wrote to stderr"):
        build.tidy(FIRST, notebook)
    notebook, _ = outputs({"name": "stdout", "text": "line\n" * 100})
    with pytest.raises(build.BuildError, match="prints more than"):
        build.tidy(FIRST, notebook)


def test_pieces_of_one_print_are_joined() -> None:
    notebook, cell = outputs({"name": "stdout", "text": "a"}, {"name": "stdout", "text": "b"})
    build.tidy(FIRST, notebook)
    assert [output.text for output in cell.outputs] == ["ab"]


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.number)
def test_no_notebook_tells_where_it_was_built(lesson: Lesson) -> None:
    text = build.target(lesson).read_text("utf-8")
    assert json.loads(text)["metadata"] == build.METADATA
    assert not re.search(r"/home/|/root/|/tmp/|/Users/|site-packages", text)


def test_figures_need_labels_and_words() -> None:
    fig, ax = style.figure()
    with pytest.raises(ValueError, match="axis without a label"):
        style.show(fig, "six words are enough for this")
    style.label(ax, "time [s]", "height [m]")
    with pytest.raises(ValueError, match="says too little"):
        style.show(fig, "a curve")
    style.show(fig, "six words are enough for this")


def test_a_wrong_answer_shows_the_smallest_example() -> None:
    cases = [{"x": n} for n in range(1, 9)]
    with pytest.raises(checking.WrongAnswerError) as failure:
        checking.same(lambda x: x if x < 3 else -x, lambda x: x, cases, name="identity")
    assert "identity(x=3)" in str(failure.value)
    assert "gave     -3" in str(failure.value)


def test_an_error_in_an_answer_names_its_line() -> None:
    def answer(x: int) -> int:
        return [0][x]

    with pytest.raises(checking.WrongAnswerError, match=r"raised IndexError(.|\n)*return \[0\]"):
        checking.call(answer, {"x": 1})


def test_an_answer_cannot_change_the_example() -> None:
    import numpy as np

    case = {"x": np.zeros(2)}

    def answer(x: Any) -> Any:
        x += 1
        return x

    checking.call(answer, case)
    assert case["x"].tolist() == [0, 0]
