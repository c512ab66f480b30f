"""How the network is trained best: one change at a time from the usual way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minissr.reproduction.cases import Case
from minissr.reproduction.rows import Row, of
from minissr.training.files import write_text


def changed(name: str, about: str, **changes: Any) -> Case:
    """The usual training with something changed."""
    return Case(name, about, {"schedule": "cosine", **changes}, "usual")


RECIPES = (
    Case("usual", "cosine, rate 0.002, batches of 50, paper augmentation, mae",
         {"schedule": "cosine"}),
    changed("step", "a tenth of the rate after each third", schedule="step"),
    changed("warm-up", "three epochs of rise", warm_up=3),
    changed("lr-0.001", "half the rate", lr=0.001),
    changed("lr-0.004", "twice the rate", lr=0.004),
    changed("batch-128", "batches of 128, twice the rate", batch_size=128, lr=0.004),
    changed("average", "moving average of the weights, 0.999", average=0.999),
    changed("decay", "decoupled weight decay of 0.05", weight_decay=0.05),
    changed("centered", "pixels from -1 to 1", pixels="centered"),
    changed("smooth", "quadratic loss up to 3 years", loss="smooth"),
    changed("distribution", "the stages' distribution, too", loss="distribution"),
    changed("distribution-5", "the same with 5 years of doubt", loss="distribution",
            label_sigma=5.0),
    changed("plain", "no augmentation", augment="none"),
    changed("flip", "faces mirrored, not moved", augment="flip"),
    changed("half", "faces moved half as far", augment="half"),
    changed("light", "light changed, too", augment="paper+light"),
    changed("color", "colour changed, too", augment="paper+color"),
    changed("blur", "blurred, too", augment="paper+blur"),
    changed("erase", "random erasing, too", augment="paper+erase"),
)  # fmt: skip


def write_table(folder: Path, rows: Sequence[Row], command: str) -> Path:
    """Write `recipes.md`: a line a recipe, best first; returns its path."""
    usual = of(rows, "usual")
    present = [case for case in RECIPES if of(rows, case.name)]
    lines = [
        f"    {command}",
        "",
        f"{rows[0]['epochs']} epochs, one seed; errors of the last epoch on the validation faces, "
        "in years.",
        "",
        "| recipe | what is different | MAE | against usual | best epoch | CA(5) | training MAE "
        "| live stages |",
        "|---|---|--:|--:|--:|--:|--:|:-:|",
    ]
    for case in sorted(present, key=lambda case: of(rows, case.name)[0]["val_mae"]):
        row = of(rows, case.name)[0]
        gap = f"{row['val_mae'] - usual[0]['val_mae']:+.2f}" if usual else ""
        lines.append(
            f"| {case.name} | {case.about} | {row['val_mae']:.2f} | {gap} | "
            f"{row['best_val_mae']:.2f} ({row['best_epoch']}) | {row['val_ca5']:.1%} | "
            f"{row['train_mae']:.2f} | {row['live_stages']}/{row['stages']} |"
        )
    path = folder / "recipes.md"
    write_text(path, "\n".join(lines) + "\n")
    return path
