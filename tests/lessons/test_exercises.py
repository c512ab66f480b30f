"""Every solution passes, every stub is "not attempted", every classic mistake is refused."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from lessons import check
from lessons.checking import NotAttemptedError, WrongAnswerError

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
