"""What training and evaluation say in words: lines, tables, warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from minissr.training.files import write_text
from minissr.training.health import OWN_SHARE, SPREAD

Record = Mapping[str, Any]


def describe(history: Sequence[Record], epochs: int) -> str:
    """One line for the epoch just finished, and one more for each stage that died in it."""
    record = history[-1]
    stages = "".join("+" if stage["alive"] else "-" for stage in record["stage_health"])
    lines = [
        f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}"
        f"  train MAE {record['train_mae']:6.2f}  val MAE {record['val_mae']:6.2f}"
        f"  CA(5) {record['val_ca5']:5.1%}  lr {record['lr']:.2g}"
        f"  {record['images_per_s']:.0f} images/s" + (f"  stages {stages}" if stages else "")
    ]
    before = history[-2]["stage_health"] if len(history) > 1 else []
    for old, new in zip(before, record["stage_health"], strict=False):
        if old["alive"] and not new["alive"]:
            lines.append(
                f"warning: stage {new['stage']} died in epoch {record['epoch']}: "
                f"{cause_of_death(new)}"
            )
    return "\n".join(lines)


def cause_of_death(stage: Record) -> str:
    """Which of the conditions for being alive a stage fails, in words."""
    causes = []
    if not (stage["own_std"] or 0) > OWN_SHARE * (stage["mean_width"] or 0):
        causes.append("it adds the same to every face's age")
    causes += [
        f"its {name} is the same for every face"
        for name in ("p", "eta", "delta")
        if not (stage[f"{name}_std"] or 0) > SPREAD
    ]
    return ", ".join(causes) or "a layer of its prediction block is wholly zero"


def health_table(stages: Sequence[Record]) -> list[str]:
    """Stage health, a line a stage."""
    if not stages:
        return ["no stage health: this network has no stages, or saw a single face"]
    lines = ["stage  alive  own std  mean width   p std  eta std  delta std  dead units"]
    for stage in stages:
        lines.append(
            f"{stage['stage']:>5}  {'yes' if stage['alive'] else 'NO':>5}"
            f"  {shown(stage['own_std'], '.2f'):>5} y  {shown(stage['mean_width'], '.2f'):>8} y"
            f"  {shown(stage['p_std'], '.3f'):>6}  {shown(stage['eta_std'], '.3f'):>7}"
            f"  {shown(stage['delta_std'], '.3f'):>9}  {stage['dead_share']:>10.0%}"
        )
    for stage in stages:
        if not stage["alive"]:
            lines.append(f"warning: stage {stage['stage']} is dead: {cause_of_death(stage)}")
    return lines


def shown(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def comparison(figures: Record, constant: str) -> list[str]:
    """The network between the constant, described in words, and the best possible; in years."""
    lines = [
        f"{'':<44}     MAE   CA(3)   CA(5)     bias",
        f"{'this network':<44}{figures['mae']:>8.2f}{figures['ca3']:>8.1%}{figures['ca5']:>8.1%}"
        f"{figures['bias']:>+9.2f}",
        f"{f'always the {constant}':<44}{figures['baseline_mae']:>8.2f}",
    ]
    if figures["best_possible_mae"] is not None:
        lines.append(
            f"{'best possible, knowing the drawn cues':<44}{figures['best_possible_mae']:>8.2f}"
        )
    return lines


def decade_table(decades: Sequence[Record]) -> list[str]:
    """Errors by decade of true age, in years."""
    lines = ["   ages   faces     MAE     bias"]
    for d in decades:
        ages = f"{d['from']}-{d['to']}"
        lines.append(f"{ages:>7}{d['n']:>8,}{d['mae']:>8.2f}{d['bias']:>+9.2f}")
    return lines


def group_table(name: str, groups: Sequence[Record]) -> list[str]:
    """Errors by the value of one label, in years."""
    width = max(len(name), *(len(group["value"]) for group in groups))
    lines = [f"{name:<{width}}   faces     MAE     bias"]
    for group in groups:
        lines.append(
            f"{group['value']:<{width}}{group['n']:>8,}{group['mae']:>8.2f}{group['bias']:>+9.2f}"
        )
    return lines


def write_json(target: str, value: Any) -> None:
    """Write a value as JSON to a file, whole or not at all, or to standard output if "-"."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text(target, text)
