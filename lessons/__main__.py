"""Start learning: copies the notebooks into `lessons/my/` and opens Jupyter there.

A notebook of yours is never overwritten. `--only-copy` leaves Jupyter closed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys

from lessons.check import copy_once, my_folder
from lessons.source import FOLDER, lessons


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons", description=__doc__)
    parser.add_argument("--only-copy", action="store_true", help="do not open Jupyter")
    asked = parser.parse_args(argv)
    kept = 0
    for lesson in lessons():
        notebook = lesson.path.with_suffix(".ipynb")
        kept += (my_folder() / notebook.name).exists()
        copy_once(notebook)
    copy_once(FOLDER / "playground.html")  # where the notebooks' links look for it
    print(f"{len(lessons())} notebooks in {my_folder()}, {kept} of them yours from before")
    if asked.only_copy:
        return 0
    if not importlib.util.find_spec("jupyterlab"):
        print("JupyterLab is not installed: pip install '.[lessons]'", file=sys.stderr)
        return 2
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", str(my_folder())])


if __name__ == "__main__":
    sys.exit(main())
