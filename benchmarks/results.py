"""The results file: one JSON object, in parts that are measured and replaced one at a time.

A part is what was measured in one interleaved run, and says by itself on which machine, with which
versions, when and by which command. Numbers of two parts were not measured side by side.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine
from minissr.errors import DataError, MinissrError

SCHEMA = 1
FEWEST_ROUNDS = 7  # for numbers that are quoted
RESULTS = Path(__file__).resolve().parent / "results"


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A results file: `schema`, and `parts`, each an object that says where it was measured.

    Raises DataError, in one sentence, if it isn't one.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {(error.strerror or str(error)).lower()}; "
            "name a file that python -m benchmarks.run wrote"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); measure again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or "parts" not in record:
        raise DataError(f"{path} is no results file of this version; measure again")
    with readable(path):
        for part in record["parts"].values():
            str(part["machine"]["processor"])
    return record


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what a part of `path` lacks or garbles into one sentence, DataError."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} lacks or garbles a part ({reason}); measure again") from error


def merge(path: Path, parts: dict[str, Any]) -> None:
    """Put `parts` into the file, in the place of older ones of the same name."""
    record = read(path) if path.exists() else {"schema": SCHEMA, "parts": {}}
    record["parts"] = dict(sorted({**record["parts"], **parts}.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, path)


def refuse_other_machine(path: Path) -> None:
    """Two machines' numbers don't belong in one file."""
    if not path.exists():
        return
    here = machine.describe()["processor"]
    for part in read(path)["parts"].values():
        there = part["machine"]["processor"]
        if there != here:
            raise MinissrError(
                f"{path} was measured on {there}, this is {here}; choose another --out"
            )


def circumstances(rounds: int, threads: int, quick: bool) -> dict[str, Any]:
    """What every part says of how it came about."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]]),
        "commit": machine.commit(),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "load": machine.load(),
        "rounds": rounds,
        "threads": threads,
        "quick": quick,
    }
