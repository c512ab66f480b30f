"""The model card: what a shipped network is, of whom it was made, and how wrong it is for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minissr.reproduction.shipment import Shipment
from minissr.training.config import TrainConfig, default_settings
from minissr.training.results import health_table
from minissr.training.session import counted

SPLITS = {"val": "validation", "test": "test", "train": "training", "all": "all"}


def card(made: Shipment) -> list[str]:
    """The text, by lines."""
    name, figures = made.terms.name, made.figures
    return [
        f"# {name}",
        "",
        "Age, in years, from a 64x64 face: SSR-Net as minissr has it, "
        f"{figures['parameters']:,} parameters. Written by `python -m minissr.reproduce weights`.",
        "",
        f'    est = minissr.load("{name}")',
        "    ages = est.predict(faces)      # uint8 (N, 64, 64, 3), RGB",
        "",
        *files(made),
        "",
        "## What it is for, and what not",
        "",
        "For study: to try minissr, to compare methods, to see what such networks get wrong. **Not "
        "for decisions about people**: not for access, age checks, employment, policing or "
        "advertising. A single answer is off by many years as often as the table below says, and "
        "more for some people than for others. An apparent age is not a person's age.",
        "",
        "## Data and terms",
        "",
        made.terms.data,
        "",
        f"The weights carry this notice: *{made.terms.licence}*.",
        "",
        *of_the_data(made),
        "",
        "## Training",
        "",
        *training(made),
        "",
        f"## How wrong it is ({len_of(made):,} {SPLITS[made.split]} faces)",
        "",
        *errors(made),
        "",
        "By age, bias being predicted less labelled age:",
        "",
        *table("ages", [(f"{d['from']}-{d['to']}", d) for d in figures["by_decade"]]),
        *groups(made),
        "",
        "## Stages",
        "",
        "```",
        *health_table(figures["stage_health"]),
        "```",
        "",
        "## Limits",
        "",
        *limits(made),
    ]


def files(made: Shipment) -> list[str]:
    """The two files with sizes and digests."""
    lines = ["| file | bytes | SHA-256 |", "|---|--:|---|"]
    return lines + [f"| `{n}` | {made.sizes[n]:,} | `{made.digests[n]}` |" for n in made.sizes]


def len_of(made: Shipment) -> int:
    return made.figures["n"]


def of_the_data(made: Shipment) -> list[str]:
    """Counts, ages, split, preprocessing."""
    counts = ", ".join(f"{len(f):,} {SPLITS[s]}" for s, f in made.data.splits.items())
    ages = made.data.split("train").ages
    pixels = made.about["preprocessing"]
    return [
        f"Faces: {counts}; training ages {ages.min():g} to {ages.max():g}, median "
        f"{np.median(ages):g}. Digest of the prepared faces and their split: "
        f"`{made.data.digest}`. Fed to the network as {pixels['color'].upper()}, "
        f"{pixels['size']}x{pixels['size']}, pixel x {pixels['scale']:.6g} + {pixels['offset']:g}; "
        f"alignment: {pixels['alignment']}.",
    ]


def training(made: Shipment) -> list[str]:
    """How it was trained, and the command that does it again."""
    best, recipe = made.about["best"], made.about["training"]
    init = made.about.get("init")
    started = f"weights with SHA-256 `{init}`" if init else "random weights"
    return [
        f"Trained for {counted(recipe['epochs'], 'epoch')} from {started}; kept is epoch "
        f"{best['epoch']}, the one with the lowest validation error ({best['val_mae']:.3f} years). "
        "The validation faces chose the epoch and the recipe, so the error on them is a little "
        "better than on others.",
        "",
        "Again, on equal faces to the same bytes (same kind of processor and versions):",
        "",
        f"    {command(recipe)}",
        "",
        "and then `python -m minissr.reproduce weights --data DATA --run RUN --out DIR`.",
    ]


def command(recipe: Mapping[str, Any]) -> str:
    """The train command for a recipe, with what is not the default."""
    defaults = {**TrainConfig().to_json(), **default_settings(recipe["model"])}
    told = []
    for key, value in recipe.items():
        if value != defaults.get(key) or key in ("seed", "epochs"):
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            told.append(f"--set {key}={str(shown).lower() if isinstance(value, bool) else shown}")
    return " ".join(["python -m minissr.train --data DATA --out RUN", *told])


def errors(made: Shipment) -> list[str]:
    """The figures that papers give, for the three ways to use it."""
    lines = [
        "| | MAE | median error | RMSE | bias | CA(3) | CA(5) |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, f in (
        ("float32", made.figures),
        ("float32, mean of a face and its mirror image (`--flip`)", made.flipped),
        ("int8", made.of_small),
    ):
        lines.append(
            f"| {name} | {f['mae']:.2f} | {f['median_ae']:.2f} | {f['rmse']:.2f} | "
            f"{f['bias']:+.2f} | {f['ca3']:.1%} | {f['ca5']:.1%} |"
        )
    lines.append(f"| always the median of the training faces | {made.figures['baseline_mae']:.2f} "
                 "| | | | | |")  # fmt: skip
    return [*lines, "", "Years; CA(n) is the share of faces with an error of at most n years."]


def table(what: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Count, MAE and bias by something."""
    lines = [f"| {what} | faces | MAE | bias |", "|---|--:|--:|--:|"]
    return lines + [
        f"| {name} | {r['n']:,} | {r['mae']:.2f} | {r['bias']:+.2f} |" for name, r in rows
    ]


def groups(made: Shipment) -> list[str]:
    """The same by each label that divides the faces."""
    lines: list[str] = []
    for name, values in made.figures.get("by_group", {}).items():
        words = made.terms.values.get(name, {})
        rows = [(words.get(v["value"], v["value"]), v) for v in values]
        lines += ["", f"By {name}, as the labels have it:", "", *table(name, rows)]
    return lines


def limits(made: Shipment) -> list[str]:
    """What the figures say it can't do."""
    decades = [d for d in made.figures["by_decade"] if d["n"] >= FEW]
    worst = max(decades, key=lambda d: d["mae"], default=None)
    lines = [
        "- It knows faces cropped and aligned as those it was trained on, and nothing else: what "
        "isn't a face gets an age, too.",
        "- Groups that have few faces in the data are measured by few faces; their figures are "
        "rough, and labels of gender and race are somebody's guess.",
    ]
    if decades and decades[0]["bias"] > 0 > decades[-1]["bias"]:
        lines.append("- It draws to the middle: the young are told older, the old younger.")
    if worst is not None:
        lines.append(
            f"- It is at its worst from {worst['from']} to {worst['to']} years: off by "
            f"{worst['mae']:.1f} years on average (decades of {FEW} faces or more)."
        )
    return lines


FEW = 20  # faces that a decade needs to be called the worst
