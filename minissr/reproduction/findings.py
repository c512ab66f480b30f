"""What an ablation's rows say beyond errors: what the slip did, what keeps stages alive."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from minissr.reproduction.cases import Case
from minissr.reproduction.rows import Row, mean_mae, of

# Of the cases against the base, those that change how stages live: the authors' way in one thing,
# or a third way. The others change what the network is.
CHANGED = (
    *("bias-0", "delta-full", "dropout", "slow-statistics", "p-relu", "p-softplus"),
    *("p-normalized", "leaky", "softplus", "head-rate", "softplus-tanh"),
    *("minissr", "stage-loss"),
)
PAPER_RIGID = 9.29  # years without dynamic range (Yang et al. 2018, section 4.4)


def slip(rows: Sequence[Row]) -> list[str]:
    """How the released formula differs from the per-image one; empty until both have run."""
    pairs = {name: of(rows, name) for name in ("released", "released-slip")}
    if not all(pairs.values()):
        return ["Not run yet."]
    lines = ["| | MAE | std of p | std of eta | std of delta | youngest answer | live stages |",
             "|---|--:|--:|--:|--:|--:|:-:|"]  # fmt: skip
    for name, words in (("released-slip", "with the slip"), ("released", "per-image formula")):
        mine = pairs[name]
        spreads = " | ".join(
            f"{mean_of(mine, key):.3f}" for key in ("p_std", "eta_std", "delta_std")
        )
        youngest = min(row["lowest_age"] for row in mine)
        lines.append(
            f"| {words} | {mean_mae(mine):.2f} | {spreads} | {youngest:.1f} | {alive(mine)} |"
        )
    lines += ["", "Spreads over faces, mean of stages and seeds; ages in years."]
    costs = [
        f"{words} {mean_mae(of(rows, rigid)) - mean_mae(pairs[whole]):+.2f}"
        for whole, rigid, words in (
            ("released-slip", "released-slip-rigid", "with the slip"),
            ("released", "released-rigid", "with the per-image formula"),
        )
        if of(rows, rigid)
    ]
    if costs:
        lines += [
            "",
            f"What leaving out the dynamic range adds to the error: {', '.join(costs)} years (the "
            f"paper has {PAPER_RIGID} years without it). With the slip, p and eta have to suit all "
            "faces of a batch; delta alone can follow the face, and without it nothing does.",
        ]
    return lines


def mean_of(rows: Sequence[Row], key: str) -> float:
    """Mean over seeds and stages of one figure of their health."""
    return statistics.fmean(stage[key] or 0.0 for row in rows for stage in row["stage_health"])


def alive(rows: Sequence[Row]) -> str:
    """Live stages of each seed, as "3/3 2/3"."""
    return " ".join(f"{row['live_stages']}/{row['stages']}" for row in rows)


def life(present: Sequence[Case], rows: Sequence[Row]) -> list[str]:
    """What brings the authors' stages to life, and how the base's live with something changed."""
    added = [c for c in present if c.against == "released" and "slip" not in c.settings]
    changed = [c for c in present if c.name in CHANGED]
    lines = []
    for base, cases, words in (
        ("released", added, "Added to the authors' graph"),
        ("base", changed, "Changed in the base"),
    ):
        if of(rows, base):
            lines += [f"{words} (itself: {alive(of(rows, base))} alive):", ""]
            lines += [f"- {c.about}: {alive(of(rows, c.name))}" for c in cases]
            lines += [""]
    return lines[:-1] or ["Not run yet."]


def health(present: Sequence[Case], rows: Sequence[Row]) -> list[str]:
    """A line a stage of every case: the mean over seeds."""
    lines = ["| case | stage | own std (years) | bin width (years) | p std | eta std | delta std "
             "| dead units | alive in |", "|---|--:|--:|--:|--:|--:|--:|--:|:-:|"]  # fmt: skip
    keys = ("own_std", "mean_width", "p_std", "eta_std", "delta_std")
    for case in present:
        mine = of(rows, case.name)
        for k in range(mine[0]["stages"]):
            stages = [row["stage_health"][k] for row in mine]
            means = [statistics.fmean(s[key] or 0.0 for s in stages) for key in keys]
            dead = statistics.fmean(s["dead_share"] for s in stages)
            living = sum(s["alive"] for s in stages)
            cells = [f"{m:.2f}" for m in means[:2]] + [f"{m:.3f}" for m in means[2:]]
            lines.append(
                f"| {case.name} | {k + 1} | {' | '.join(cells)} | {dead:.0%} | "
                f"{living} of {len(mine)} |"
            )
    return lines
