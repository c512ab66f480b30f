"""What the rows of an ablation say: a table, the paper's claims one by one, three figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minissr.reproduction import figures, findings
from minissr.reproduction.cases import CASES, CLAIMS, Case, Claim
from minissr.reproduction.rows import Row, mean_mae, of, spread
from minissr.training.files import write_atomically, write_text

SURE = 2.0  # spreads that a difference has to exceed


def write_report(folder: Path, rows: Sequence[Row], command: str) -> Path:
    """Draw the figures and write `report.md` in `folder`; returns its path.

    Rows of other studies' cases may stand among them.
    """
    present = [case for case in CASES if of(rows, case.name)]
    rows = [row for case in present for row in of(rows, case.name)]
    for name, picture in (
        ("errors.png", figures.errors(present, rows)),
        ("stages.png", figures.stages(present, rows)),
        ("curves.png", figures.curves(present, rows)),
    ):
        write_atomically(folder / name, picture)
    path = folder / "report.md"
    write_text(path, "\n".join(report(present, rows, command)) + "\n")
    return path


def report(present: Sequence[Case], rows: Sequence[Row], command: str) -> list[str]:
    """The text of the report, by lines."""
    return [
        "# What each part of SSR-Net is worth",
        "",
        f"{len(rows)} run{'s' * (len(rows) > 1)} of {rows[0]['epochs']} epochs on the same faces, "
        "schedule and augmentation; errors are of the last epoch's network on the validation "
        "faces, in years, mean and standard deviation over seeds. A stage is alive as "
        "`training.health` has it.",
        "",
        f"    {command}",
        "",
        *table(present, rows),
        "",
        "![validation error of every run](errors.png)",
        "",
        "## The claims",
        "",
        f"A claim holds, or is contradicted, if the two means differ by more than {SURE:g} times "
        "the larger spread of the two; otherwise these runs don't tell.",
        "",
        *(f"- {sentence(claim, rows)}" for claim in CLAIMS),
        "",
        "## What the slip did",
        "",
        *findings.slip(rows),
        "",
        "## What keeps stages alive",
        "",
        *findings.life(present, rows),
        "",
        "![what each stage contributes](stages.png)",
        "",
        "## Learning",
        "",
        "![learning curves](curves.png)",
        "",
        "## Health of every stage",
        "",
        *findings.health(present, rows),
    ]


def table(present: Sequence[Case], rows: Sequence[Row]) -> list[str]:
    """A line a case."""
    lines = [
        "| case | what is different | against | seeds | MAE | difference | best epoch's MAE "
        "| CA(5) | live stages | ages from | parameters |",
        "|---|---|---|--:|--:|--:|--:|--:|:-:|--:|--:|",
    ]
    for case in present:
        mine = of(rows, case.name)
        ca5 = sum(row["val_ca5"] for row in mine) / len(mine)
        best = sum(row["best_val_mae"] for row in mine) / len(mine)
        lowest = min(row["lowest_age"] for row in mine)
        other = of(rows, case.against or "")
        gap = f"{mean_mae(mine) - mean_mae(other):+.2f}" if other else ""
        lines.append(
            f"| {case.name} | {case.about} | {case.against or ''} | {len(mine)} | "
            f"{with_spread(mine)} | {gap} | {best:.2f} | {ca5:.1%} | {findings.alive(mine)} | "
            f"{lowest:.1f} | {mine[0]['parameters']:,} |"
        )
    return lines


def with_spread(rows: Sequence[Row]) -> str:
    """Mean and spread, as 6.51 ± 0.08; one seed has no spread."""
    around = spread(rows)
    return f"{mean_mae(rows):.2f}" + ("" if around is None else f" ± {around:.2f}")


def sentence(claim: Claim, rows: Sequence[Row]) -> str:
    """A claim with the two errors and the verdict."""
    better, worse = of(rows, claim.better), of(rows, claim.worse)
    if not (better and worse):
        return f"{claim.words} Not run yet."
    errors = f"{claim.better} {with_spread(better)}, {claim.worse} {with_spread(worse)}"
    return f"{claim.words} **{verdict(better, worse)}**: {errors}."


def verdict(better: Sequence[Row], worse: Sequence[Row]) -> str:
    """What these runs say of "the first is better"."""
    spreads = [s for s in (spread(better), spread(worse)) if s is not None]
    if len(spreads) < 2:  # how far one seed is from another isn't known
        return "Open, one seed"
    gain = mean_mae(worse) - mean_mae(better)
    if abs(gain) <= SURE * max(spreads):
        return "Not told by these runs"
    return "Holds" if gain > 0 else "Contradicted"
