"""`python -m minissr.prepare SOURCE DIR --out DATA`: pictures into a data set.

Raw pictures go in (a folder, a tar or a zip, which is never unpacked); `images.npy`, `labels.csv`,
`meta.json` and a contact sheet come out, or nothing does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minissr import cli
from minissr.data.sources import SOURCES
from minissr.errors import Interrupted

SHOWN = 10  # dropped rows that the summary names

EXAMPLE = """sources:
{sources}

example:
  python -m minissr.prepare utkface UTKFace.tar --out data/utkface
  python -m minissr.train --data data/utkface

A labels file is a CSV with the columns file and age (years, 0 to 130) and, if you have them,
split (train, val, test), group, person, gender, race; other columns are kept. Copies,
near-copies, rows of one group and pictures of one person are never divided by the split."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    width = max(map(len, SOURCES))
    parser = cli.Parser(
        prog="python -m minissr.prepare",
        description="Turn a folder, tar or zip of pictures into a data set of 64x64 faces.",
        epilog=EXAMPLE.format(
            sources="\n".join(f"  {s:<{width}}  {t}" for s, t in SOURCES.items())
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help=f"{', '.join(SOURCES)}: see below")
    parser.add_argument(
        "dir", metavar="DIR", type=Path, help="folder, tar or zip with the pictures"
    )
    parser.add_argument(
        "--out", metavar="DATA", type=Path, required=True, help="directory to write"
    )
    parser.add_argument("--labels", metavar="CSV", type=Path, help="file naming pictures and ages")
    parser.add_argument(
        "--bad-rows",
        choices=("stop", "skip"),
        default="stop",
        help="rows that can't be used: stop before writing anything (default), or leave them out",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the split (default 0)")
    parser.add_argument(
        "--val-share",
        metavar="X",
        type=float,
        help="share of the pictures to validate on (default 0.2); "
        "not with a labels file that has a split column",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the data set that DATA holds"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    from minissr.data.preparation import prepare

    try:
        meta = prepare(
            args.source,
            args.dir,
            args.out,
            labels=args.labels,
            skip_bad_rows=args.bad_rows == "skip",
            seed=args.seed,
            val_share=args.val_share,
            overwrite=args.overwrite,
            say=lambda sentence: print(sentence, file=sys.stderr),
        )
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"interrupted before {args.out} was finished; run the command again"
        ) from error
    print(summary(args, meta))
    return 0


def summary(args: argparse.Namespace, meta: dict[str, Any]) -> str:
    """What was made of what, what was left out and why, and what to do next."""
    split, dropped, age = meta["split"], meta["dropped"], meta["age"]
    counts = ", ".join(f"{n:,} {name}" for name, n in meta["splits"].items())
    how = (
        "as the labels file says"
        if split["by"] == "labels file"
        else f"seed {split['seed']}, validation share {split['val_share']:g}"
    )
    lines = [
        f"{args.out}: {meta['count']:,} faces from {meta['source']['name']}",
        f"  split     {counts} ({how})",
        f"  groups    {split['groups']:,} (copies, near-copies and persons count as one)",
        f"  ages      {age['min']:g} to {age['max']:g} years, median {age['median']:g}",
    ]
    if split["divided_groups"]:
        lines.append(
            f"  warning   groups divided by the labels file's split: {split['divided_groups']:,} "
            "(validation sees near-copies of training faces)"
        )
    if meta["copies_of_another_age"]:
        lines.append(
            f"  warning   {meta['copies_of_another_age']:,} pictures have a byte-identical copy "
            "labelled with another age"
        )
    for why, n in meta["ignored"].items():
        lines.append(f"  ignored   {n:,} x {why}")
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in dropped["by_kind"].items())
    lines.append(f"  dropped   {dropped['count']:,}{f' ({kinds})' if kinds else ''}")
    for row in dropped["rows"][:SHOWN]:
        lines.append(f"            {row['file']} {row['reason']}")
    if dropped["count"] > SHOWN:
        lines.append(f"            and {dropped['count'] - SHOWN:,} more, listed in meta.json")
    lines.append(f"  look at   {args.out / 'contact.png'}")
    lines.append(f"next: python -m minissr.train --data {args.out}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run(main))
