"""Test your answer to an exercise: `check("02.1")`; a push in the right direction: `hint("02.1")`.

You write your answers in `lessons/my/e02.py`, which appears when you first check one, or pass
them: `check("02.1", my_function)`. `python -m lessons.check 02` submits a lesson's answers.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons.checking import NotAttemptedError, WrongAnswerError, raised

FOLDER = Path(__file__).resolve().parent

_FROM_FILE = object()
_hints_given: dict[str, int] = {}


@dataclass(frozen=True)
class Exercise:
    """One exercise: what the learner's file calls the answer, three hints, and the test.

    `test(answer)` returns nothing if the answer is right, and raises otherwise.
    """

    number: str
    name: str
    hints: tuple[str, str, str]
    test: Callable[[Any], None]


_exercises: dict[str, Exercise] = {}


def exercise(
    number: str, name: str, hints: tuple[str, str, str]
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a test as that of exercise `number`, whose answer is called `name`."""

    def register(test: Callable[[Any], None]) -> Callable[[Any], None]:
        _exercises[number] = Exercise(number, name, hints, test)
        return test

    return register


def find(number: str) -> Exercise:
    """The exercise, its lesson's module loaded first.

    Raises
    ------
    ValueError
        If there is none of that number; the message lists those of the lesson.
    """
    lesson = str(number).partition(".")[0]
    if not (FOLDER / "exercises" / f"e{lesson}.py").is_file():
        raise ValueError(f"no lesson {lesson!r} has exercises; the numbers look like 02.1")
    every = of_lesson(lesson)
    if number not in {e.number for e in every}:
        known = ", ".join(e.number for e in every)
        raise ValueError(f"there is no exercise {number!r}; lesson {lesson} has {known}")
    return _exercises[number]


def of_lesson(lesson: str) -> list[Exercise]:
    """The exercises of a lesson, in order."""
    importlib.import_module(f"lessons.exercises.e{lesson}")
    return [_exercises[n] for n in sorted(_exercises) if n.startswith(f"{lesson}.")]


def check(number: str, answer: Any = _FROM_FILE) -> None:
    """Test an answer, or what `lessons/my/` has, and say what came out.

    Raises
    ------
    WrongAnswerError
        If the answer is wrong; the message has the smallest example that fails.
    """
    asked = find(number)
    try:
        submit(number, answer)
    except NotAttemptedError:
        where = f" in lessons/my/e{number[:2]}.py" if answer is _FROM_FILE else ""
        print(f"{number} not attempted: write `{asked.name}`{where}")
    else:
        print(f"{number} right: `{asked.name}`")


def submit(number: str, answer: Any = _FROM_FILE) -> None:
    """As `check`, but silent, and a stub is an error too: NotAttemptedError."""
    asked = find(number)
    if answer is _FROM_FILE:
        answer = from_file(number, asked.name)
    if answer is None:
        raise NotAttemptedError(f"{number} not attempted")
    try:
        asked.test(answer)
    except NotAttemptedError as error:
        raise NotAttemptedError(f"{number} not attempted") from error
    except WrongAnswerError as error:
        raise WrongAnswerError(f"{number} wrong: {error}") from error
    except Exception as error:
        raise WrongAnswerError(f"{number} wrong: `{asked.name}` {raised(error)}") from error


def from_file(number: str, name: str) -> Any:
    """What the learner's file calls `name`, or None."""
    path = my_file(number[:2])
    try:
        return getattr(load(path), name, None)
    except Exception as error:  # a file that doesn't run, a syntax error among them
        said = f"{type(error).__name__}: {error}"
        raise WrongAnswerError(f"{number} wrong: {path.name} does not run: {said}") from error


def hint(number: str) -> None:
    """Print the next of an exercise's three hints."""
    asked = find(number)
    step = min(_hints_given.get(number, 0), len(asked.hints) - 1)
    _hints_given[number] = step + 1
    print(f"{number}, hint {step + 1} of {len(asked.hints)}: {asked.hints[step]}")


def my_folder() -> Path:
    """Where a learner's own files are."""
    return Path(os.environ.get("MINISSR_LESSONS_MY", FOLDER / "my"))


def my_file(lesson: str) -> Path:
    """The learner's file of a lesson, made from the stub if there is none yet."""
    return copy_once(FOLDER / "stubs" / f"e{lesson}.py")


def copy_once(source: Path) -> Path:
    """Copy a file into the learner's folder, unless one of that name is there."""
    target = my_folder() / source.name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return target


def load(path: Path) -> Any:
    """Run a file as a module of its own, afresh each time."""
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(argv: list[str] | None = None) -> int:
    """Submit the answers of some lessons; 1 if one is missing or wrong."""
    parser = argparse.ArgumentParser(prog="python -m lessons.check", description=__doc__)
    parser.add_argument("lessons", nargs="+", metavar="NN", help="lesson numbers: 01 02 ...")
    failed = 0
    for lesson in parser.parse_args(argv).lessons:
        try:
            find(f"{lesson}.1")
        except ValueError as error:
            parser.error(str(error))
        for asked in of_lesson(lesson):
            try:
                submit(asked.number)
                print(f"{asked.number} right")
            except (NotAttemptedError, WrongAnswerError) as error:
                print(error)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    # Not `main`: run as a script this module is a second copy, without the registered exercises.
    sys.exit(importlib.import_module("lessons.check").main())
