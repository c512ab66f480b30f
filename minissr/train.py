"""`python -m minissr.train`: learn ages from faces, drawn or prepared."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr import cli
from minissr.errors import DiskError, Interrupted, MinissrError
from minissr.training import config as configuration
from minissr.training.config import TrainConfig, build_config, fields

if TYPE_CHECKING:
    from minissr.training.rundir import RunDirectory
    from minissr.training.session import Session

EXAMPLE = """example:
  python -m minissr.train --data data/utkface --epochs 30 --out runs/utkface
  python -m minissr.train --resume runs/utkface

Without options it draws synthetic faces and trains on them in under three minutes. A flag is
stronger than the --config file, and --set is stronger than a flag. Ctrl-C saves first."""

FLAGS = (
    ("data", "synthetic|DATA"),
    ("model", "NAME"),
    ("backend", "|".join(configuration.BACKENDS)),
    ("epochs", "N"),
    ("batch_size", "N"),
    ("lr", "X"),
    ("augment", "paper|none|..."),
    ("seed", "N"),
    ("threads", "N"),
    ("init", "CHECKPOINT"),
    ("checkpoint_every", "SECONDS"),
)
PLACES = ("out", "resume", "config", "init")
RESUMABLE = ("data", "backend", "threads", "checkpoint_every")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.train",
        description="Train a network to tell ages from 64x64 faces.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for key, metavar in FLAGS:
        setting = fields()[key]
        default = "" if setting.default is None else f" [{setting.default}]"
        parser.add_argument(
            f"--{key.replace('_', '-')}",
            metavar=metavar,
            dest=key,
            default=argparse.SUPPRESS,
            help=setting.metadata["about"] + default,
        )
    parser.add_argument(
        "--stages",
        metavar="3,3,3",
        default=argparse.SUPPRESS,
        help="number of bins of each stage, coarse to fine",
    )
    parser.add_argument("--out", metavar="RUN", help="run directory [runs/DATE-N]")
    parser.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    parser.add_argument("--config", metavar="FILE", help="settings as JSON; see a config.json")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any other setting"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="watch 30 steps: time, GFLOP/s and GB/s of each op, and a Chrome trace in the run",
    )
    parser.add_argument("--help-set", action="store_true", help="list the keys of --set")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    options, flags = parsed(argv)
    if options["help_set"]:
        print(configuration.describe_keys(flags.get("model", TrainConfig.model)))
        return 0
    from minissr.training.rundir import RunDirectory

    if options["resume"]:
        refuse_changes(options, flags)
        with RunDirectory.resume(options["resume"]) as run, with_a_reader(run):
            file = configuration.read_config_file(run.config)
            config = merged(file, f"{run.config}: ", options, flags)
            return train_in(run, config, options["profile"])
    config = of_new_run(options, flags)
    with RunDirectory.create(options["out"], config.to_json()) as run, with_a_reader(run):
        return train_in(run, config, options["profile"])


def parsed(argv: Sequence[str] | None) -> tuple[dict[str, Any], dict[str, str]]:
    """All options, and those of them that are settings of the training."""
    options = vars(build_parser().parse_args(argv))
    for key in PLACES:
        if options.get(key) == "":  # as a script says it whose variable isn't set
            raise MinissrError(f"--{key} is empty; name a place or leave it out")
    return options, {k: v for k, v in options.items() if k in fields() or k == "stages"}


def of_new_run(options: dict[str, Any], flags: dict[str, str]) -> TrainConfig:
    """What a run that begins with these options is told."""
    path = options["config"]
    file = configuration.read_config_file(path) if path else {}
    return merged(file, f"{path}: ", options, flags)


def merged(
    file: dict[str, Any], where: str, options: dict[str, Any], flags: dict[str, str]
) -> TrainConfig:
    """A configuration file, flags and `--set` as one record, with nothing left open."""
    dashed = {key.replace("_", "-"): value for key, value in flags.items()}
    assigned = configuration.parse_assignments(options["set"])
    return build_config((where, file), ("--", dashed), ("--set ", assigned)).resolved()


def refuse_changes(options: dict[str, Any], flags: dict[str, str]) -> None:
    """With `--resume`, only what changes nothing in the result may be said anew."""
    run = options["resume"]
    said = {**flags, **configuration.parse_assignments(options["set"])}
    for key in [*said, *(key for key in ("out", "config") if options[key])]:
        if key.replace("-", "_") not in RESUMABLE:
            raise MinissrError(
                f"--resume goes on as {run}/config.json says, {key} can't be changed; "
                f"for a new run from its weights use --init {run}"
            )


def train_in(run: RunDirectory, config: TrainConfig, profiled: bool = False) -> int:
    """Train in a run directory that is ours: announce, train, measure, report."""
    from minissr.kernels.backend import use_backend
    from minissr.training.loop import train
    from minissr.training.profile import Profile
    from minissr.training.report import closing, finish
    from minissr.training.session import introduction, is_finished, open_session
    from minissr.training.signals import StopRequest

    if is_finished(config, run):
        print(f"{run.path} is finished, all {config.epochs} epochs; see {run.report}")
        return 0
    with StopRequest(f"interrupted; go on with: {again(run)}") as stop, use_backend(config.backend):
        try:
            session = open_session(config, run, stop)
            words = introduction(session)
        except (MinissrError, ValueError, OSError, MemoryError):
            if run.fresh:
                run.discard()
            raise
        print("\n".join(words), flush=True)
        if profiled:
            session.profile = Profile()
        try:
            train(session)
            result = finish(session)
        except DiskError as error:
            raise DiskError(f"{error}, then go on with: {again(run)}") from error
        except Interrupted:  # the steps that were watched are no less true
            tell_profile(session, run)
            raise
    print("\n".join(closing(session, result)))
    tell_profile(session, run)
    return 0


def again(run: RunDirectory) -> str:
    """The command that goes on with a run."""
    return f"python -m minissr.train --resume {shlex.quote(str(run.path))}"


def with_a_reader(run: RunDirectory) -> contextlib.AbstractContextManager[None]:
    """Around a training: it ends, saved, if nobody reads what it prints (`| head`)."""
    return cli.needing_a_reader(f"standard output was closed; go on with: {again(run)}")


def tell_profile(session: Session, run: RunDirectory) -> None:
    """Print what `--profile` watched and write the trace, if somebody asked for it."""
    from minissr.training.profile import Profile, table, write_trace

    if not isinstance(session.profile, Profile):
        return
    print("\n" + table(session.profile))
    write_trace(session.profile, run.trace)
    if session.profile.steps:
        print(f"trace     {run.trace}, for chrome://tracing or ui.perfetto.dev")


if __name__ == "__main__":
    sys.exit(cli.run(main))
