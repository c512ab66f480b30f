"""Build the notebooks from their sources: `python -m lessons.build [NN ...] [--check]`.

Every lesson runs from top to bottom in a kernel of its own, and the `.ipynb` keeps what it
printed and drew. Nothing in it depends on when or where it was built. `--check` writes nothing and
fails if a lesson fails, or a notebook's cells are not those of its source.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from lessons import readme
from lessons.source import FOLDER, Lesson, lessons

CELL_SECONDS = 300  # only against a lesson that hangs; how long it took is printed
MOST_LINES = 60  # of text below one cell
MOST_BYTES = 800_000  # of a notebook
MOST_MEMORY = 1_000  # MB

METADATA = {
    "jupytext": {"formats": "ipynb,py:percent", "text_representation": {"extension": ".py"}},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "name": "python", "pygments_lexer": "ipython3"},
}

# Threads as on the smallest machine a lesson is meant for; the same order in every set.
ENVIRONMENT = {
    "NUMBA_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "Agg",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "MINISSR_LESSONS_STATIC": "1",  # pictures instead of sliders
}

PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


class BuildError(Exception):
    """A lesson that can't be built, in one paragraph."""


def target(lesson: Lesson) -> Path:
    return lesson.path.with_suffix(".ipynb")


def from_source(lesson: Lesson) -> Any:
    """The notebook of a lesson, not run yet; its cells are named by their place."""
    notebook = jupytext.reads(lesson.path.read_text("utf-8"), fmt="py:percent")
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"{lesson.number}-{place:03d}"
        cell.metadata.clear()
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def run(lesson: Lesson, notebook: Any) -> int:
    """Execute the notebook in place; the kernel's peak memory in MB."""
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    with tempfile.TemporaryDirectory() as my:
        os.environ.update(ENVIRONMENT, MINISSR_LESSONS_MY=my)
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(FOLDER)}},
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError) as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
            raise BuildError(f"lesson {lesson.number} failed:\n{plain}") from error
    return int(notebook.cells.pop().outputs[0].text)


def tidy(lesson: Lesson, notebook: Any) -> None:
    """Refuse what doesn't belong into a notebook that people read."""
    notebook.metadata = nbformat.from_dict(METADATA)  # running it has added Python's version
    for place, cell in enumerate(notebook.cells):
        cell.metadata.clear()
        where = f"lesson {lesson.number}, cell {place} ({cell.source.splitlines()[0]!r})"
        if cell.cell_type == "code":
            cell.outputs = joined([o for o in cell.outputs if not is_compiling(o)])
        for output in cell.get("outputs", ()):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if output.get("name") == "stderr":
                raise BuildError(f"{where} wrote to stderr:\n{text}")
            if text.count("\n") > MOST_LINES:
                raise BuildError(f"{where} prints more than {MOST_LINES} lines")
            if "data" in output and "image/png" not in output.data:
                for kind in set(output.data) - {"text/plain", "text/html"}:
                    del output.data[kind]


def is_compiling(output: Any) -> bool:
    """Whether this only says that kernels are compiled, as on the first run on a machine."""
    text = output.get("text", "").strip()
    return (
        output.get("name") == "stderr"
        and text.startswith("minissr: compiling")
        and ("\n" not in text)
    )


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs with printed pieces that follow each other in one: how they are cut is chance."""
    result: list[Any] = []
    for output in outputs:
        if result and output.get("name") == result[-1].get("name") == "stdout":
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def build(lesson: Lesson, *, check: bool) -> str:
    """Run one lesson and write its notebook (or compare); what it took, in words."""
    start, before = time.perf_counter(), processor_seconds()
    notebook = from_source(lesson)
    if check:
        compare(lesson, notebook)
    memory = run(lesson, notebook)
    tidy(lesson, notebook)
    if memory > MOST_MEMORY:
        raise BuildError(f"lesson {lesson.number} took {memory} MB; at most {MOST_MEMORY}")
    text = nbformat.writes(notebook)
    if len(text) > MOST_BYTES:
        raise BuildError(f"the notebook of lesson {lesson.number} has {len(text)} bytes")
    if not check:
        target(lesson).write_text(text if text.endswith("\n") else text + "\n", "utf-8")
    took = (
        f"{time.perf_counter() - start:.0f} s ({processor_seconds() - before:.0f} s of processor)"
    )
    return f"{lesson.number} {lesson.title}: {took}, {memory} MB, {len(text) // 1000} kB"


def processor_seconds() -> float:
    """What the kernels that have ended took of all processors: the same on a busy machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(lesson: Lesson, notebook: Any) -> None:
    """Refuse a notebook whose cells are not its source's."""
    path = target(lesson)
    remedy = f"run python -m lessons.build {lesson.number}"
    if not path.is_file():
        raise BuildError(f"{path.name} is missing; {remedy}")
    committed = nbformat.read(path, as_version=4).cells
    cells = [(c.cell_type, c.source) for c in notebook.cells]
    for place, (old, new) in enumerate(zip(committed, cells, strict=False)):
        if (old.cell_type, old.source) != new:
            raise BuildError(f"cell {place} of {path.name} differs from its source; {remedy}")
    if len(committed) != len(cells):
        raise BuildError(f"{path.name} has {len(committed)} cells, not {len(cells)}; {remedy}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.build", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which lessons (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    asked = parser.parse_args(argv)
    every = lessons()
    if unknown := set(asked.numbers) - {lesson.number for lesson in every}:
        parser.error(f"there is no lesson {', '.join(sorted(unknown))}")
    failed, start = 0, time.perf_counter()
    for lesson in every:
        if asked.numbers and lesson.number not in asked.numbers:
            continue
        try:
            print(build(lesson, check=asked.check), flush=True)
        except (BuildError, ValueError) as error:
            print(f"lessons: {error}", file=sys.stderr, flush=True)
            failed += 1
    seconds = time.perf_counter() - start
    print(f"together {seconds:.0f} s ({processor_seconds():.0f} s of processor)")
    try:
        if not asked.check:
            readme.update(every)
        elif not readme.current(every):
            raise BuildError("README.md's table is not the lessons'; run python -m lessons.build")
    except (BuildError, ValueError) as error:
        print(f"lessons: {error}", file=sys.stderr)
        failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
