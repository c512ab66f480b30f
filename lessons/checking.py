"""What an exercise tests an answer with: examples from small to large, and finite differences.

Examples are tried smallest first, so the first one that fails is the smallest that fails.
"""

from __future__ import annotations

import inspect
import itertools
import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minissr
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError, gradcheck

Case = dict[str, Any]  # the arguments of one call, by name


class NotAttemptedError(Exception):
    """The answer is still the stub."""


class WrongAnswerError(Exception):
    """The answer fails; the message has the smallest example that shows it."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter prints: the example, not the checker's insides."""
        return [str(self)]


def call(answer: Any, case: Case, *, name: str = "your function") -> Any:
    """The answer's result for one example; None counts as not attempted.

    The answer gets copies by position, so that it can't change the example; the names are ours.
    """
    if answer is None:
        raise NotAttemptedError
    try:
        result = answer(*[np.copy(v) if isinstance(v, np.ndarray) else v for v in case.values()])
    except (NotAttemptedError, WrongAnswerError):
        raise
    except Exception as error:
        raise WrongAnswerError(f"{calling(name, case)}\n  {raised(error)}") from error
    if result is None:
        raise NotAttemptedError
    return result


# Where the lines are that a learner did not write.
FOLDER = Path(__file__).resolve().parent
NOT_THEIRS = (FOLDER, FOLDER / "exercises", Path(np.__file__).parent, Path(minissr.__file__).parent)


def raised(error: Exception) -> str:
    """What went wrong in an answer, and in which of the learner's own lines."""
    said = f"raised {type(error).__name__}: {error}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        above = Path(frame.filename).resolve().parents
        if above[0] not in NOT_THEIRS[:2] and not set(NOT_THEIRS[2:]) & set(above):
            return f"{said}\n  in line {frame.lineno}: {frame.line}"
    return f"{said}\n  when the check used what you gave it"


def same(
    answer: Any,
    reference: Callable[..., Any],
    cases: Iterable[Case],
    *,
    tol: float = 1e-9,
    name: str = "your function",
) -> None:
    """The answer gives what `reference` gives, to `tol` of the largest number, on every case."""
    for case in cases:
        got, wanted = call(answer, case, name=name), reference(*case.values())
        compare(got, wanted, case, tol=tol, name=name)


def compare(
    got: Any, wanted: Any, case: Case, *, tol: float = 1e-9, name: str = "your function"
) -> None:
    """One result against the right one; tuples part by part, arrays by shape and value."""
    if isinstance(wanted, tuple):
        if not isinstance(got, tuple) or len(got) != len(wanted):
            fail(name, case, show(got), f"a tuple of {len(wanted)}")
        for part, right in zip(got, wanted, strict=True):
            compare(part, right, case, tol=tol, name=name)
        return
    try:
        numbers, right = np.asarray(got, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    except (TypeError, ValueError):
        fail(name, case, show(got), show(wanted))
    if numbers.shape != right.shape:
        fail(name, case, f"shape {numbers.shape}: {show(got)}", f"shape {right.shape}")
    limit = tol * max(1.0, float(np.max(np.abs(right), initial=0.0)))
    if not np.allclose(numbers, right, rtol=0, atol=limit, equal_nan=True):
        fail(name, case, show(got), show(wanted))


def gradients(
    forward: Callable[..., Any],
    backward: Any,
    cases: Iterable[Case],
    *,
    name: str = "your backward",
    **settings: Any,
) -> None:
    """`backward(gy, *inputs)` is the gradient of `forward(*inputs)`, element by element.

    Floats among the inputs are checked (in float64); `backward` returns one array, or a tuple of
    as many as there are array inputs. `settings` go to `minissr.gradcheck`.
    """
    given, learners = forward, backward

    class Answer(Function):
        """The learner's backward beside the given forward."""

        @staticmethod
        def forward(ctx: Any, *inputs: Any, **_: Any) -> Any:
            ctx.save(*inputs)
            return np.asarray(given(*inputs))

        @staticmethod
        def backward(ctx: Any, gy: Any) -> Any:
            result = learners(gy, *ctx.saved)
            parts = result if isinstance(result, tuple) else (result,)
            return tuple(np.asarray(part, dtype=np.float64) for part in parts)

    for case in cases:
        arrays = [np.asarray(v, dtype=np.float64) for v in case.values()]
        gy = np.ones_like(np.asarray(given(*arrays)))
        call(learners, {incoming(learners): gy, **dict(zip(case, arrays, strict=True))}, name=name)
        try:
            gradcheck(Answer.apply, arrays, mode="elements", **settings)
        except (GradientError, RuntimeError) as error:
            said = str(error).replace("Answer.backward", name)
            for position, argument in enumerate(case):
                said = said.replace(f"input {position}", argument)
            raise WrongAnswerError(f"{calling(name, case)}\n  {said}") from error


def incoming(backward: Any) -> str:
    """What the learner calls the gradient that comes back: the first argument."""
    try:
        return next(iter(inspect.signature(backward).parameters), "gy")
    except (TypeError, ValueError):
        return "gy"


def require(condition: Any, message: str) -> None:
    """Something that has to hold of an answer; the message says what, with the example."""
    if not condition:
        raise WrongAnswerError(message)


def attempted(value: Any) -> Any:
    """`value`, unless it is None, what a stub has."""
    if value is None:
        raise NotAttemptedError
    return value


def shapes(*ranges: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of the given lengths, the smallest number of elements first."""
    return sorted(itertools.product(*ranges), key=lambda shape: (math.prod(shape), shape))


def fail(name: str, case: Case, got: str, wanted: str) -> None:
    raise WrongAnswerError(f"{calling(name, case)}\n  gave     {got}\n  expected {wanted}")


def calling(name: str, case: Case) -> str:
    """A call as one would type it: "relu(x=[-1.  2.])"."""
    return f"{name}({', '.join(f'{key}={show(value)}' for key, value in case.items())})"


def show(value: Any) -> str:
    """A value in few words: small arrays whole, large ones by their shape."""
    if isinstance(value, np.ndarray):
        if value.size > 24:
            return f"<array {value.shape}, first numbers {show(value.ravel()[:4])}>"
        text = np.array2string(value, precision=6, suppress_small=True, separator=", ")
        return " ".join(text.split())
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))}{',' * (len(value) == 1)})"
    return repr(value) if not callable(value) else getattr(value, "__name__", repr(value))
