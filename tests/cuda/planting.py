"""Putting a mistake into a kernel's text, and what a rung of the ladder says about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from minissr.kernels import cuda
from minissr.kernels.cuda import Program
from tests.cuda.cases import results
from tests.cuda.test_emulated import check
from tests.cuda_emulator.module import running
from tests.cuda_emulator.source import EmulatorError


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes
    ----------
    what : str
    program : Program
        The file it is in, or the one that includes it.
    right, wrong : str
        What stands there, and what is put there.
    case : str
        The case of `cases.py` that runs the kernel.
    rung : "numpy" | "asan" | "tsan"
        What must catch it: the comparison with NumPy in five orders of threads, with all that the
        emulator itself reports; AddressSanitizer; ThreadSanitizer.
    """

    what: str
    program: Program
    right: str
    wrong: str
    case: str
    rung: str


@contextlib.contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """The program with the mistake in its text."""
    program = mistake.program
    original = program.source
    if original.count(mistake.right) != 1:
        raise ValueError(
            f"{mistake.what}: the piece occurs {original.count(mistake.right)} times, not once"
        )
    kept = program._modules, program._functions
    program.source = original.replace(mistake.right, mistake.wrong)
    program._modules, program._functions = {}, {}
    cuda.arrivals.cache_clear()  # a mistake may leave the counters of later launches wrong
    try:
        yield
    finally:
        cuda.arrivals.cache_clear()
        program.source = original
        program._modules, program._functions = kept


def caught(mistake: Mistake, rung: str) -> str | None:
    """What the rung says about the program with the mistake in it; None if nothing."""
    with planted(mistake):
        try:
            if rung == "numpy":
                check(mistake.case, "float32")
            else:
                with running(mode=rung):
                    results(mistake.case, "cupy", "float32")
        except AssertionError as error:
            return str(error).strip().splitlines()[0]
        except EmulatorError as error:
            return summary(str(error))
    return None


def summary(report: str) -> str:
    """The line of a sanitizer's report that says what was found."""
    for sign in ("data race", "heap-buffer-overflow", "out of bounds", "stack-buffer", "SEGV"):
        if sign in report:
            return sign
    return report.splitlines()[0]
