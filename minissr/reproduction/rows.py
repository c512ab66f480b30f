"""The row of figures that each finished run of a study leaves, and which runs are still wanted.

Rows are one JSON object a line, in a file that grows as runs finish. What has a row is never
trained again, on whatever machine; a run that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minissr.errors import DataError
from minissr.reproduction.cases import SEEDS, TRAINING, Case
from minissr.training.files import write_text

Row = dict[str, Any]
DIGITS = 4  # of the figures in a row
# What a report reads of any row; there is more in one, see `finished_row`.
KEYS = (
    *("case", "seed", "data", "epochs", "parameters", "val_mae", "val_ca3", "val_ca5", "train_mae"),
    *("best_val_mae", "best_epoch", "lowest_age", "live_stages", "stages", "stage_health"),
    *("train_mae_by_epoch", "val_mae_by_epoch"),
)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a file; none if there is no file. Raises DataError naming a line that is none."""
    path = Path(path)
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if missing := [key for key in KEYS if key not in row]:
                raise KeyError(*missing)
            rows.append({**row, "case": str(row["case"]), "seed": int(row["seed"])})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}, is no row of a study; remove the line, and the run is "
                "looked at again"
            ) from error
    return rows


def write_rows(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Write the rows, whole or not at all."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def check_comparable(
    rows: Sequence[Row], digest: str, epochs: Mapping[str, int], path: object
) -> None:
    """Refuse rows of other faces or another length: they can't stand in one table.

    `epochs` tells the length of each case; rows of other cases may have any.
    """
    for row in rows:
        if row["data"] != digest or row["epochs"] != epochs.get(row["case"], row["epochs"]):
            raise DataError(
                f"{path} has a row of other faces or of {row['epochs']} epochs ({row['case']}, "
                f"seed {row['seed']}); name another --rows file"
            )


def of(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of one case, by seed."""
    return sorted((row for row in rows if row["case"] == name), key=lambda row: row["seed"])


def mean_mae(rows: Sequence[Row]) -> float:
    """Mean over seeds of the last epoch's validation MAE, in years."""
    return statistics.fmean(row["val_mae"] for row in rows)


def spread(rows: Sequence[Row]) -> float | None:
    """Standard deviation over seeds (n - 1) of the same; None of fewer than two."""
    return statistics.stdev(row["val_mae"] for row in rows) if len(rows) > 1 else None


def seeds_wanted(case: Case, rows: Sequence[Row]) -> int:
    """How many seeds a case needs, as far as the rows tell.

    A case of one seed gets more if it differs from the one it is compared with by less than twice
    that one's spread.
    """
    mine, other = of(rows, case.name), of(rows, case.against or "")
    around = spread(other)
    if case.seeds >= SEEDS or not mine or around is None:
        return case.seeds
    close = abs(mean_mae(mine) - mean_mae(other)) < 2 * around
    return SEEDS if close else case.seeds


def next_run(cases: Sequence[Case], rows: Sequence[Row]) -> tuple[Case, int] | None:
    """The first run (case, seed) that has no row, first seeds of all cases first; None at the end.

    Asked anew after each run, because a finished one can make others necessary.
    """
    for seed in range(SEEDS):
        for case in cases:
            done = any(row["seed"] == seed for row in of(rows, case.name))
            if not done and seed < seeds_wanted(case, rows):
                return case, seed
    return None


def arguments(case: Case, seed: int, data: str, out: Path, epochs: int) -> list[str]:
    """What `python -m minissr.train` is told for one run."""
    settings = {**TRAINING, "epochs": epochs, **case.settings}
    told = ["--data", data, "--seed", str(seed), "--out", str(out)]
    for key, value in settings.items():
        shown = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        told += ["--set", f"{key}={shown.lower() if isinstance(value, bool) else shown}"]
    return told


def finished_row(case: Case, seed: int, run: Path, predicted: Any, about: Row) -> Row:
    """The figures of a finished run.

    Parameters
    ----------
    case : Case
    seed : int
    run : Path
        Its directory.
    predicted : ndarray (N,)
        What its last network says of the validation faces, in years.
    about : dict
        `data`, the digest of the faces; `parameters`.
    """
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = history[-1]
    best = min(history, key=lambda record: record["val_mae"])
    row = {
        "case": case.name,
        "seed": seed,
        "epochs": last["epoch"],
        **about,
        "val_mae": last["val_mae"],
        "val_ca3": last["val_ca3"],
        "val_ca5": last["val_ca5"],
        "train_mae": last["train_mae"],
        "best_val_mae": best["val_mae"],
        "best_epoch": best["epoch"],
        "lowest_age": float(predicted.min()),
        "highest_age": float(predicted.max()),
        "live_stages": sum(stage["alive"] for stage in last["stage_health"]),
        "stages": len(last["stage_health"]),
        "stage_health": last["stage_health"],
        "train_mae_by_epoch": [record["train_mae"] for record in history],
        "val_mae_by_epoch": [record["val_mae"] for record in history],
        "live_by_epoch": [
            sum(stage["alive"] for stage in record["stage_health"]) for record in history
        ],
    }
    return rounded(row)


def rounded(value: Any) -> Any:
    """The same with numbers of few digits: a row is for reading."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value
