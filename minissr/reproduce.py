"""`python -m minissr.reproduce STUDY`: the paper's figures and tables, and ours, on your faces."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.reproduction.cases import Case

EXAMPLE = """studies:
  ablation   what each part of SSR-Net is worth, and what keeps its stages alive (38 networks)
  figure2    learning curves of SSR-Net, MobileNet and DenseNet side by side
  table2     their CA(3) and CA(5), of the same runs
  figure3    parameters of stages against one stage; nothing is trained
  recipes    how to train best: one change at a time from the usual way
  weights    train the network that ships, and write its files and model card

example:
  python -m minissr.reproduce ablation --data data/utkface --out runs/ablation
  python -m minissr.reproduce figure2 --data synthetic --epochs 2 --cases minissr --out trial

Each run is a `python -m minissr.train`, printed before it starts. Ctrl-C saves; the same command
goes on. What has a row in --rows is not trained again, and one file of rows does for ablation,
figure2 and table2, which share two networks. Each finished run rewrites the report."""

STUDIES = ("ablation", "figure2", "table2", "figure3", "recipes", "weights")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.reproduce",
        description="Train the networks of a study, one after another, and report.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", choices=STUDIES, help="which study; see below")
    parser.add_argument("--data", metavar="synthetic|DATA", help="faces with ages")
    parser.add_argument("--out", metavar="DIR", help="for runs and report")
    parser.add_argument(
        "--rows", metavar="FILE", help="the finished runs' figures [DIR/rows.jsonl]"
    )
    parser.add_argument("--cases", metavar="A,B,...", help="only these; see --list")
    parser.add_argument(
        "--epochs", metavar="N|A=N,...", help="of each run, or of some [20, densenet=10]"
    )
    parser.add_argument(
        "--curves", metavar="FOLDER/SET", help="figure2: draw FOLDER/SET__METHOD.csv behind"
    )
    parser.add_argument("--run", metavar="RUN", help="weights: of this finished run; no training")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="weights: of the run [0]")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument(
        "--report-only", action="store_true", help="write the report of the rows there are"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = build_parser().parse_args(arguments)
    if args.list:
        print("\n".join(list_of(cases_of(args))))
        return 0
    with cli.needing_a_reader("standard output was closed; the same command goes on"):
        return conduct(args, arguments)


def conduct(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Do what the study asks for; `arguments` are what `args` were parsed from."""
    needless = args.study == "figure3" or args.report_only
    if not args.out or not (args.data or needless):
        raise MinissrError("the study needs --data and --out; see --help")
    if args.study == "weights" and args.report_only:
        raise MinissrError("weights has no rows to report; name a finished run with --run instead")
    out = Path(args.out)
    if args.study == "figure3":
        from minissr.reproduction.parameters import figure3

        out.mkdir(parents=True, exist_ok=True)
        print(f"figure  {figure3(out)}")
        return 0
    if args.study == "weights":
        print("\n".join(f"written  {path}" for path in weights(args, out)))
        return 0
    from minissr.reproduction.runs import epochs_of, train_cases

    cases = cases_of(args)
    epochs = epochs_of(args.epochs, cases)
    out.mkdir(parents=True, exist_ok=True)
    rows_file = Path(args.rows) if args.rows else out / "rows.jsonl"
    # What the report names is how its rows come about.
    training = [argument for argument in arguments if argument != "--report-only"]
    command = "python -m minissr.reproduce " + shlex.join(training)
    report = reporter(args, rows_file, out, command)
    if not args.report_only:
        train_cases(cases, args.data, out, rows_file, epochs, report)
    print(f"report  {report()}")
    return 0


def cases_of(args: argparse.Namespace) -> tuple[Case, ...]:
    """What the study trains, or those of it that were asked for."""
    from minissr.reproduction.cases import CASES, METHODS, choose

    names = args.cases.split(",") if args.cases else None
    from minissr.reproduction.recipes import RECIPES

    among = {"ablation": CASES, "figure2": METHODS, "table2": METHODS, "recipes": RECIPES}
    return choose(names, among.get(args.study, ()))


def list_of(cases: Sequence[Case]) -> list[str]:
    """Each case with what is different and from what."""
    width = max((len(case.name) for case in cases), default=0)
    return [
        f"{case.name:<{width}}  {case.about}"
        + (f" (against {case.against})" if case.against else "")
        for case in cases
    ]


def reporter(
    args: argparse.Namespace, rows_file: Path, out: Path, command: str
) -> Callable[[], Path]:
    """What writes the study's report from the rows there are; it returns the report's path."""
    from minissr.reproduction.rows import read_rows

    def report() -> Path:
        rows = read_rows(rows_file)
        if not rows:
            raise MinissrError(f"{rows_file} has no rows yet; leave out --report-only to train")
        if args.study == "ablation":
            from minissr.reproduction.report import write_report

            return write_report(out, rows, command)
        if args.study == "recipes":
            from minissr.reproduction.recipes import write_table

            return write_table(out, rows, command)
        from minissr.reproduction import comparison

        if args.study == "figure2":
            return comparison.figure2(out, rows, args.curves)
        return comparison.table2(out, rows)

    if args.curves:  # said wrong, it is better known before hours of training
        from minissr.reproduction.comparison import authors_curves

        authors_curves(args.curves)
    return report


def weights(args: argparse.Namespace, out: Path) -> list[Path]:
    """Train by the recipe, unless a run is named, and write what ships."""
    from minissr.reproduction import recipe
    from minissr.reproduction.runs import train
    from minissr.reproduction.shipping import ship

    if args.epochs is not None and not (args.epochs.isdecimal() and int(args.epochs) > 0):
        raise MinissrError(f"--epochs {args.epochs}; expected a whole number from 1 up")
    run = Path(args.run) if args.run else out / f"run-{args.seed}"
    if not args.run:
        epochs = int(args.epochs) if args.epochs else None
        train(recipe.arguments(args.data, run, args.seed, epochs), run)
    return ship(run, args.data, out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
