"""`python -m minissr.inspect CHECKPOINT`: what its stages do with faces, and what it is made of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.training.inspection import Inspection, Stage

EXAMPLE = """example:
  python -m minissr.inspect runs/utkface --data data/utkface --out stages.png
  python -m minissr.inspect runs/utkface --summary

DATA is synthetic, a prepared data set, or a folder of pictures, each of one cropped face; ages
aren't needed. A stage is alive if what it adds to the age depends on the face. The reachable ages
are those the formula can give as long as what is constant over these faces stays constant."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.inspect",
        description="Tell what the stages of a network do with faces.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the network; as in evaluate")
    parser.add_argument("--data", metavar="synthetic|DATA", help="faces to look at")
    parser.add_argument(
        "--split", choices=("train", "val", "test"), help="which of them [test, else all]"
    )
    parser.add_argument("--faces", type=int, default=500, metavar="N", help="at most [500]")
    parser.add_argument("--out", metavar="FIGURE.png", help="draw it")
    parser.add_argument("--json", metavar="FILE|-", help="write the figures; - is standard output")
    parser.add_argument("--summary", action="store_true", help="list the network's layers")
    parser.add_argument("--backend", default="auto", metavar="auto|numpy|numba|cupy", help="[auto]")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    if not args.data and not args.summary:
        raise MinissrError("nothing to look at; give faces with --data, or ask for --summary")
    if not args.data and (args.out or args.json):
        raise MinissrError("--out and --json tell of faces; give some with --data")
    import numpy as np

    from minissr.faces.sample import sample_faces
    from minissr.kernels.backend import use_backend
    from minissr.models.summary import summary
    from minissr.training.files import check_target, write_atomically
    from minissr.training.measure import network_input
    from minissr.training.network import load_network
    from minissr.training.results import write_json

    out = sys.stderr if args.json == "-" else sys.stdout
    for target in (args.out, args.json):
        if target and target != "-":
            check_target(target)
    network = load_network(args.checkpoint)
    model: Any = network.model
    print(f"network  {network.path}", file=out)
    if network.scale is not None:
        zero, one = network.scale
        print(f"scale    0 is {zero}, 1 is {one}; read the years below as that", file=out)
    if args.summary:
        print("", summary(model, network.preprocessing.size), sep="\n", file=out)
    if not args.data:
        return 0
    if not hasattr(model, "explain"):
        raise MinissrError(f"{type(model).__name__} has no stages to look at; try --summary")
    faces = sample_faces(args.data, args.faces, network.preprocessing.size, args.split)
    print(f"faces    {len(faces)} of {args.data}", file=out)
    from minissr.training.inspection import inspect_stages

    with use_backend(args.backend) as backend:
        model.to(backend)
        seen = inspect_stages(model, network_input(faces, network.preprocessing))
    if not np.isfinite(seen.ages).all():
        lost = int((~np.isfinite(seen.ages)).sum())
        raise MinissrError(
            f"the network gives no age for {lost} of {len(faces)} faces (not a finite number); "
            "there is nothing to look at, train it again with a lower --lr"
        )
    print("", *describe(seen), sep="\n", file=out)
    if args.out:
        from minissr.training.stage_figure import stage_figure

        allowed = model.settings.min_age, model.settings.max_age
        verdict = f"{seen.alive} of {len(seen.stages)} stages alive"
        title = f"{network.path.name} over {len(faces)} faces: {verdict}"
        write_atomically(args.out, stage_figure(seen, title, allowed))
        print(f"\ndrawn    {args.out}", file=out)
    if args.json:
        write_json(args.json, {**to_json(seen), "checkpoint_sha256": network.sha256})
    return 0


def describe(seen: Inspection) -> list[str]:
    """Everything that was seen, for reading."""
    from minissr.training.results import health_table

    lines = health_table([stage.health.to_json() for stage in seen.stages])
    lines.append("")
    for stage in seen.stages:
        lines += tell(stage)
    low, high = seen.ages.min(), seen.ages.max()
    lines += ["", f"live stages     {seen.alive} of {len(seen.stages)}",
              f"ages seen       {low:.2f} to {high:.2f} years"]  # fmt: skip
    if seen.reachable:
        low, high = seen.reachable
        lines.append(f"ages reachable  {years(low)} to {years(high)} years")
    return lines


def tell(stage: Stage) -> list[str]:
    """The parts of one stage: a constant's numbers, or from where to where the others go."""
    lines = []
    for name, values in stage.parts.items():
        if name in stage.constant:
            what = "CONSTANT  " + "  ".join(f"{v:.5f}" for v in values.mean(axis=0))
        else:
            ends = zip(values.min(axis=0), values.max(axis=0), strict=True)
            what = "  ".join(f"{low:.2f}..{high:.2f}" for low, high in ends)
        lines.append(f"stage {stage.health.stage}  {name:<6} {what}")
    return lines


def years(age: float) -> str:
    """A bound; beyond what anybody lives it is as good as none."""
    return f"{age:.2f}" if abs(age) < 1000 else f"{age:.1g}"


def to_json(seen: Inspection) -> dict[str, Any]:
    """The figures; null where a bound is infinite."""
    import math

    def finite(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    low, high = seen.reachable or (-math.inf, math.inf)
    return {
        "n": len(seen.ages),
        "alive": seen.alive,
        "lowest_seen": finite(seen.ages.min()),
        "highest_seen": finite(seen.ages.max()),
        "lowest_reachable": finite(low),
        "highest_reachable": finite(high),
        "stages": [
            {**stage.health.to_json(), "constant": list(stage.constant)} for stage in seen.stages
        ],
    }


if __name__ == "__main__":
    sys.exit(cli.run(main))
