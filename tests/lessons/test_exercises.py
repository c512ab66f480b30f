"""Every solution passes, every stub is "not attempted", every classic mistake is refused."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessons import check, checking
from lessons.__main__ import main
from lessons.checking import NotAttemptedError, WrongAnswerError
from lessons.source import lessons

NUMBERS = [
    asked.number
    for path in sorted((check.FOLDER / "exercises").glob("e[0-9][0-9].py"))
    for asked in check.of_lesson(path.stem[1:])
]
every_exercise = pytest.mark.parametrize("number", NUMBERS)


@pytest.fixture
def my(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of lessons/my."""
    monkeypatch.setenv("MINISSR_LESSONS_MY", str(tmp_path / "my"))
    return tmp_path / "my"


def answer(folder: str, number: str) -> Any:
    module = check.load(check.FOLDER / folder / f"e{number[:2]}.py")
    return getattr(module, check.find(number).name)


@every_exercise
def test_the_solution_passes(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    check.check(number, answer("solutions", number))
    assert f"{number} right" in capsys.readouterr().out


@every_exercise
def test_the_stub_is_not_attempted(
    number: str, my: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.check(number, answer("stubs", number))
    check.check(number)
    assert capsys.readouterr().out.count("not attempted") == 2
    with pytest.raises(NotAttemptedError):
        check.submit(number)


@every_exercise
def test_classic_mistakes_are_refused(number: str) -> None:
    module = importlib.import_module(f"lessons.exercises.e{number[:2]}")
    mistakes = module.WRONG[number]
    assert mistakes
    for mistake in mistakes:
        with pytest.raises(WrongAnswerError, match=number):
            check.check(number, mistake)


@every_exercise
def test_three_hints(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3, 3):
        check.hint(number)
        said = capsys.readouterr().out
        assert f"{number}, hint {step} of 3: " in said
        assert len(said) > 30


def test_a_learners_file_is_never_overwritten(my: Path) -> None:
    path = check.my_file("01")
    path.write_text("mine = 1\n")
    assert check.my_file("01").read_text() == "mine = 1\n"


def test_submitting_a_lesson(my: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["01"]) == 1
    assert "01.1 not attempted" in capsys.readouterr().out
    shutil.copyfile(check.FOLDER / "solutions" / "e01.py", my / "e01.py")
    assert check.main(["01"]) == 0


@pytest.mark.parametrize("number", ["99.1", "01.9", "seven", ""])
def test_an_unknown_number_is_one_sentence(number: str) -> None:
    with pytest.raises(ValueError, match=r"lesson|exercise"):
        check.check(number)


def test_an_error_is_told_with_the_learners_line(my: Path) -> None:
    check.my_file("01").write_text("def visiting_order(parents, last):\n    return parents['no']\n")
    with pytest.raises(WrongAnswerError, match=r"raised KeyError: 'no'\n  in line 2: return par"):
        check.submit("01.3")


def test_a_file_that_does_not_run_is_one_sentence(
    my: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.my_file("01").write_text("def visiting_order(:\n")
    assert check.main(["01"]) == 1
    assert "e01.py does not run: SyntaxError" in capsys.readouterr().out


def test_an_unknown_lesson_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        check.main(["99"])
    assert stopped.value.code == 2
    assert "no lesson '99'" in capsys.readouterr().err


def test_the_example_has_the_learners_names() -> None:
    with pytest.raises(WrongAnswerError, match=r"mine\(slope=\[1\.\], z=\[2\.\]\)"):
        checking.gradients(np.square, mine, [{"z": np.array([2.0])}], name="mine")


def mine(slope: Any, z: Any) -> Any:
    raise RuntimeError("not yet")


def test_a_learners_notebooks_are_copied_once(my: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only-copy"]) == 0
    first = my / lessons()[0].path.with_suffix(".ipynb").name
    first.write_text("mine")
    assert main(["--only-copy"]) == 0
    assert first.read_text() == "mine"
    links = {
        target for lesson in lessons() for target in re.findall(r"\]\(([^):#]+)\)", lesson.markdown)
    }
    assert "playground.html" in links
    assert links <= {path.name for path in my.iterdir()}
    assert "0 of them yours" in capsys.readouterr().out


def test_without_jupyter_one_sentence(
    my: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main([]) == 2
    assert capsys.readouterr().err == "JupyterLab is not installed: pip install '.[lessons]'\n"
