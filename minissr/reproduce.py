"""`python -m minissr.reproduce ablation`: what each part of SSR-Net is worth, on your faces."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.reproduction.cases import Case

EXAMPLE = """example:
  python -m minissr.reproduce ablation --data data/utkface --out runs/ablation
  python -m minissr.reproduce ablation --data synthetic --epochs 2 --cases minissr,dex --out trial

Each run is a `python -m minissr.train`, printed before it starts. Ctrl-C saves; the same command
goes on. What has a row in --rows is not trained again. Each finished run rewrites the report."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.reproduce",
        description="Train the networks of a study, one after another, and report.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", choices=("ablation",), help="which study")
    parser.add_argument("--data", metavar="synthetic|DATA", help="faces with ages")
    parser.add_argument("--out", metavar="DIR", help="for runs and report")
    parser.add_argument(
        "--rows", metavar="FILE", help="the finished runs' figures [DIR/rows.jsonl]"
    )
    parser.add_argument("--cases", metavar="A,B,...", help="only these; see --list")
    parser.add_argument("--epochs", metavar="N", type=int, help="of each run [20]")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument(
        "--report-only", action="store_true", help="write the report of the rows there are"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse_args(arguments)
    from minissr.reproduction.cases import TRAINING, choose

    cases = choose(args.cases.split(",") if args.cases else None)
    if args.list:
        print("\n".join(list_of(cases)))
        return 0
    if not args.out or not (args.data or args.report_only):
        raise MinissrError("the study needs --data and --out; see --help")
    if args.epochs is not None and args.epochs < 1:
        raise MinissrError(f"--epochs {args.epochs}; expected a whole number from 1 up")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    rows_file = Path(args.rows) if args.rows else out / "rows.jsonl"
    command = "python -m minissr.reproduce " + shlex.join(arguments)
    if not args.report_only:
        train_cases(cases, args.data, out, rows_file, args.epochs or TRAINING["epochs"], command)
    print(f"report  {report_of(rows_file, out, command)}")
    return 0


def list_of(cases: Sequence[Case]) -> list[str]:
    """Each case with what is different and from what."""
    width = max(len(case.name) for case in cases)
    return [
        f"{case.name:<{width}}  {case.about}"
        + (f" (against {case.against})" if case.against else "")
        for case in cases
    ]


def report_of(rows_file: Path, out: Path, command: str) -> Path:
    """Write the report of the rows there are."""
    from minissr.reproduction.report import write_report
    from minissr.reproduction.rows import read_rows

    rows = read_rows(rows_file)
    if not rows:
        raise MinissrError(f"{rows_file} has no rows yet; leave out --report-only to train")
    return write_report(out, rows, command)


def train_cases(
    cases: Sequence[Case], spec: str, out: Path, rows_file: Path, epochs: int, command: str
) -> None:
    """Train what has no row yet, and add its row."""
    from minissr.data.faces import open_dataset
    from minissr.reproduction.rows import (
        arguments,
        check_comparable,
        next_run,
        read_rows,
        write_rows,
    )

    data = open_dataset(spec)
    check_comparable(read_rows(rows_file), data.digest, epochs, rows_file)
    while (wanted := next_run(cases, read_rows(rows_file))) is not None:
        case, seed = wanted
        run = out / f"{case.name}-{seed}"
        print(f"\n{case.name}, seed {seed}: {case.about}")
        train(arguments(case, seed, spec, run, epochs), run)
        row = measured(case, seed, run, spec, data.digest)
        write_rows(rows_file, [*read_rows(rows_file), row])
        report_of(rows_file, out, command)


def train(arguments: list[str], run: Path) -> None:
    """One run, from its beginning or from where it was interrupted."""
    from minissr import train as door

    arguments = ["--resume", str(run)] if (run / "config.json").exists() else arguments
    print(f"python -m minissr.train {shlex.join(arguments)}", flush=True)
    door.main(arguments)


def measured(case: Case, seed: int, run: Path, spec: str, digest: str) -> dict[str, Any]:
    """The row of a finished run; `digest` tells the faces of this study from others."""
    from minissr.data.faces import open_dataset
    from minissr.reproduction.rows import finished_row
    from minissr.training.measure import predict_ages
    from minissr.training.network import load_network

    network = load_network(run / "last.safetensors")
    faces = open_dataset(spec, seed=seed).split("val")  # synthetic ones differ by seed
    predicted = predict_ages(network.model, faces.images, network.preprocessing)
    about = {"data": digest, "parameters": network.model.parameter_count()}
    return finished_row(case, seed, run, predicted, about)


if __name__ == "__main__":
    sys.exit(cli.run(main))
