"""`python -m benchmarks.report`: tables and pictures from a results file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from minissr import cli
from minissr.errors import DataError

EXAMPLE = """example:
  python -m benchmarks.report benchmarks/results/2026-11-24.json

Writes the tables into benchmarks/README.md, between its two marks, and the pictures beside the
results. Every number is taken from the file; none is left out because it is slow."""

README = Path(__file__).resolve().parent / "README.md"
BEGIN = "<!-- begin: written by python -m benchmarks.report -->"
END = "<!-- end -->"


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m benchmarks.report",
        description="Tables and pictures of what benchmarks.run measured.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("results", nargs="?", metavar="FILE", help="[the newest in results/]")
    parser.add_argument(
        "--readme", metavar="FILE", default=str(README), help="[benchmarks/README.md]"
    )
    parser.add_argument("--plots", metavar="FOLDER", help="[beside FILE]")
    parser.add_argument("--print", action="store_true", help="print the tables, write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    options = build_parser().parse_args(argv)
    path = Path(options.results) if options.results else newest()
    parts = results.read(path)["parts"]

    from benchmarks.tables import tables

    with results.readable(path):
        shown = tables(parts)
    if options.print:
        print(shown, end="")
        return 0
    from benchmarks.plots import draw

    readme = Path(options.readme)
    folder = Path(options.plots) if options.plots else path.parent
    with results.readable(path):
        pictures = [folder / name for name in draw(parts, folder)]
    text = f"From `{relative(path, readme)}`.\n\n{shown}"
    for picture in pictures:
        text += f"\n![{picture.stem}]({relative(picture, readme)})\n"
    readme.write_text(replaced(readme, text))
    print(f"{readme}: {len(parts)} parts; {', '.join(map(str, pictures)) or 'no pictures'}")
    return 0


def newest() -> Path:
    """The results file with the latest date in its name."""
    files = sorted(results.RESULTS.glob("*.json"))
    if not files:
        raise DataError(f"{results.RESULTS} has no results; run python -m benchmarks.run first")
    return files[-1]


def relative(path: Path, readme: Path) -> str:
    """A path as the README names it."""
    path, beside = path.resolve(), readme.resolve().parent
    return path.relative_to(beside).as_posix() if path.is_relative_to(beside) else str(path)


def replaced(readme: Path, text: str) -> str:
    """The README with `text` between its marks, or appended with marks where it has none."""
    before = readme.read_text() if readme.exists() else ""
    if BEGIN not in before or END not in before:
        return f"{before.rstrip()}\n\n{BEGIN}\n{text}{END}\n".lstrip()
    head, _, rest = before.partition(BEGIN)
    return f"{head}{BEGIN}\n{text}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(cli.run(main))
