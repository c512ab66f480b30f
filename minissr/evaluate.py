"""`python -m minissr.evaluate CHECKPOINT --data DATA`: how far off a network is, and for whom."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.training.evaluation import Evaluation

EXAMPLE = """example:
  python -m minissr.evaluate runs/utkface --data data/utkface --json utkface.json

CHECKPOINT is a .safetensors file, a run directory (its best network), or the name of a network
that comes with minissr. CA(n) is the share of faces with an error of at most n years."""

SPLITS = ("train", "val", "test", "all")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.evaluate",
        description="Measure a network on a data set.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the network; see below")
    parser.add_argument("--data", metavar="synthetic|DATA", required=True, help="faces with ages")
    parser.add_argument(
        "--split", choices=SPLITS, help="which of them [test where there is one, else val]"
    )
    parser.add_argument(
        "--against",
        metavar="CHECKPOINT",
        help="measure this one too, such as the one a small file was made of, and compare",
    )
    parser.add_argument(
        "--flip", action="store_true", help="mean of the ages of a face and its mirror image"
    )
    parser.add_argument("--json", metavar="FILE|-", help="write the figures; - is standard output")
    parser.add_argument("--backend", default="auto", metavar="auto|numpy|numba|cupy", help="[auto]")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    from minissr.data.opening import open_dataset
    from minissr.kernels.backend import use_backend
    from minissr.training.evaluation import evaluate
    from minissr.training.network import load_network
    from minissr.training.results import write_json
    from minissr.training.session import labels_above

    with use_backend(args.backend) as backend:
        network = load_network(args.checkpoint)
        network.check_tells_age()
        network.model.to(backend)
        recipe = network.about.get("training", {})
        data = open_dataset(args.data, seed=recipe.get("seed", 0))
        out = sys.stderr if args.json == "-" else sys.stdout
        print(f"backend  {backend}\nnetwork  {network.path}\ndata     {data.describe()}", file=out)
        model: Any = network.model
        max_age = model.config().get("max_age")
        if max_age is not None and (above := labels_above(data, max_age)):
            print(
                f"note     {above:,} labels exceed the network's range of {max_age:g} years; "
                "they are kept",
                file=out,
            )
        median = network.about.get("data", {}).get("train_median")
        result = evaluate(
            network.model, network.preprocessing, data, args.split, median, flip=args.flip
        )
        other = compare(args.against, backend, result, args.flip) if args.against else None
    print("\n".join(describe(result)), file=out)
    if other:
        print("", *told(other, result), sep="\n", file=out)
        result.figures["against"] = other
    if args.json:
        flipped = {"flip": True} if args.flip else {}
        write_json(args.json, {**result.figures, **flipped, "checkpoint_sha256": network.sha256})
    return 0


def compare(checkpoint: str, backend: str, result: Evaluation, flip: bool) -> dict[str, Any]:
    """Another network on the same faces: its MAE and how far the ages are apart, in years."""
    import numpy as np

    from minissr.training.measure import predict_ages
    from minissr.training.metrics import mean_absolute_error
    from minissr.training.network import load_network

    other = load_network(checkpoint)
    other.check_tells_age()
    if other.preprocessing.size != result.faces.images.shape[1]:
        raise MinissrError(
            f"{checkpoint} wants faces of {other.preprocessing.size} pixels and these have "
            f"{result.faces.images.shape[1]}; compare networks of one size"
        )
    other.model.to(backend)
    ages = predict_ages(other.model, result.faces.images, other.preprocessing, flip=flip)
    apart = np.abs(ages.astype(np.float64) - result.predicted)
    mae = mean_absolute_error(ages, result.faces.ages)
    return {
        "checkpoint": str(other.path),
        "checkpoint_sha256": other.sha256,
        "mae": mae,
        "cost": result.figures["mae"] - mae,
        "mean_difference": float(apart.mean()),
        "largest_difference": float(apart.max()),
    }


def told(other: dict[str, Any], result: Evaluation) -> list[str]:
    """The comparison in words."""
    return [
        f"against {other['checkpoint']}: MAE {other['mae']:.3f}, this network "
        f"{result.figures['mae']:.3f}, a cost of {other['cost']:+.3f} years",
        f"ages differ by {other['mean_difference']:.3f} years on average, "
        f"{other['largest_difference']:.2f} at most",
    ]


def describe(result: Evaluation) -> list[str]:
    """Everything that was measured, for reading."""
    from minissr.training.results import comparison, decade_table, group_table, health_table

    figures = result.figures
    lines = [
        f"split    {result.split}, {len(result.faces):,} faces",
        "",
        *comparison(figures, result.constant),
        "",
        f"median error {figures['median_ae']:.2f}, RMSE {figures['rmse']:.2f}, "
        f"{figures['parameters']:,} parameters",
        "",
        *decade_table(figures["by_decade"]),
    ]
    for name, groups in figures.get("by_group", {}).items():
        lines += ["", *group_table(name, groups)]
    return [*lines, "", *health_table(figures["stage_health"])]


if __name__ == "__main__":
    sys.exit(cli.run(main))
