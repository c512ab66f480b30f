"""`python -m minissr.predict PATH...`: ages for pictures of faces."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.faces.answers import Answer

EXAMPLE = """example:
  python -m minissr.predict face.jpg album/ 'more/*.png' --weights runs/utkface --json ages.json

Each picture is taken to be one face, cropped as the network was trained; this version doesn't look
for faces in a photo. A picture that can't be used is a line in the result, not the end of it."""

COLUMNS = ("file", "face", "box", "age", "raw_age", "status", "message")
GENDER_COLUMNS = ("gender", "gender_score")  # where the network tells that


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.predict",
        description="Tell the age of faces in pictures.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", nargs="+", help="picture, folder or 'pattern*'")
    parser.add_argument(
        "--weights",
        metavar="CHECKPOINT",
        help="a network: .safetensors, run directory, or name [ssrnet-utkface]",
    )
    parser.add_argument("--json", metavar="FILE|-", help="write rows as JSON; - is standard output")
    parser.add_argument("--csv", metavar="FILE|-", help="write rows as CSV; - is standard output")
    parser.add_argument(
        "--save-images", metavar="DIR", help="copies with the age below each, in a new folder"
    )
    parser.add_argument("--explain", action="store_true", help="also tell what each stage says")
    parser.add_argument(
        "--flip", action="store_true", help="mean of the ages of a face and its mirror image"
    )
    parser.add_argument("--backend", default="auto", metavar="auto|numpy|numba|cupy", help="[auto]")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    if args.json == "-" and args.csv == "-":
        raise MinissrError("--json - and --csv - would mix; write one of them to a file")
    if args.json and args.csv and os.path.realpath(args.json) == os.path.realpath(args.csv):
        raise MinissrError(f"--json and --csv both name {args.json}; give each its own file")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name with letters it lacks is shown escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    from minissr.estimator import load
    from minissr.faces.album import Album
    from minissr.faces.answers import answers, find_pictures
    from minissr.training.files import write_text

    files = list(find_pictures(args.path))
    album = Album(args.save_images) if args.save_images else None
    estimator = load(args.weights or default_weights(), backend=args.backend, flip=args.flip)
    print(
        f"network {estimator.network.path}; each picture is taken as one cropped face",
        file=sys.stderr,
    )
    if estimator.network.scale:
        zero, one = estimator.network.scale
        print(f"it tells gender, from 0 ({zero}) to 1 ({one}), and not age", file=sys.stderr)
    rows = []
    for row in answers(estimator, files, explain=args.explain):
        rows.append(row)
        if album and row.status == "ok":
            album.add(row.file, answer(row).strip())
        # A single picture that can't be used is the sentence at the end, and not said twice.
        if "-" not in (args.json, args.csv) and (row.status == "ok" or len(files) > 1):
            print("\n".join(lines(row)))
    for target, text in ((args.json, as_json(rows)), (args.csv, as_csv(rows))):
        if target == "-":
            sys.stdout.write(text)
        elif target:
            write_text(target, text)
    if any(row.status == "ok" for row in rows):
        return 0
    if len(rows) == 1:
        raise MinissrError(f"{printable(rows[0].file)}: {rows[0].message}")
    raise MinissrError(f"none of {len(rows)} pictures could be used; the rows say why")


def default_weights() -> str:
    """The network to use when none is named."""
    from minissr.training.network import DEFAULT, shipped

    names = shipped()
    if not names:
        raise MinissrError(
            "no network comes with this version; train one (python -m minissr.train --data DATA) "
            "and name its run directory with --weights"
        )
    return DEFAULT if DEFAULT in names else names[0]


def lines(row: Answer) -> list[str]:
    """A row for reading: the age (or gender), then the file; what each stage says below."""
    name = printable(row.file)
    if row.status != "ok":
        return [f"    -        {name}: {row.message}"]
    beyond = "" if row.age == row.raw_age else f"  (the network says {row.raw_age:.1f})"
    shown = [f"{answer(row)}  {name}{beyond}"]
    places, unit = (1, " years") if row.gender is None else (2, "")
    for k, stage in enumerate(row.stages or [], 1):
        bins = ", ".join(
            f"{p:.2f} x {low:.{places}f} to {high:.{places}f}"
            for p, (low, high) in zip(stage["p"], stage["edges"], strict=True)
        )
        shown.append(
            f"             stage {k}: {stage['contribution']:+.{places}f}{unit}; "
            f"width {stage['width']:.{places}f}, delta {stage['delta']:+.2f}; p x bin: {bins}"
        )
    return shown


def answer(row: Answer) -> str:
    """What the network tells of a face."""
    if row.gender is not None:
        return f"{row.gender:>6} {row.gender_score:.2f}"
    return f"{row.age:5.1f} years"


def printable(name: str) -> str:
    """A file's name without what would move the cursor or can't be written."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def as_json(rows: Sequence[Answer]) -> str:
    """All rows as a JSON list."""
    return json.dumps([row.to_json() for row in rows], indent=2, allow_nan=False) + "\n"


def as_csv(rows: Sequence[Answer]) -> str:
    """All rows as CSV with a header."""
    text = io.StringIO(newline="")
    told = GENDER_COLUMNS if any(row.gender for row in rows) else ()
    writer = csv.DictWriter(text, [*COLUMNS, *told], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = row.to_json()
        values["file"] = printable(row.file)
        values["box"] = " ".join(map(str, row.box or []))
        writer.writerow(values)
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(cli.run(main))
