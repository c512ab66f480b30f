"""Training what a study still lacks, one run after another, and noting each in its rows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minissr.data.opening import open_dataset
from minissr.errors import DataError, MinissrError
from minissr.reproduction.cases import TRAINING, Case
from minissr.reproduction.rows import (
    Row,
    arguments,
    check_comparable,
    finished_row,
    next_run,
    read_rows,
    write_rows,
)
from minissr.training.config import TrainConfig, build_config, read_config_file, show


def epochs_of(told: str | None, cases: Sequence[Case]) -> dict[str, int]:
    """How long each case is trained.

    Parameters
    ----------
    told : str or None
        What `--epochs` says: "20" of all, "densenet=5,mobilenet=8" of some, or nothing.
    cases : sequence of Case

    Raises
    ------
    MinissrError
        Naming what is no number of epochs, or no case of the study.
    """
    epochs = {case.name: case.epochs or TRAINING["epochs"] for case in cases}
    for part in (told or "").split(",") if told else ():
        name, equals, number = part.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise MinissrError(f"--epochs {part}; expected a whole number from 1 up")
        if not equals:
            epochs = dict.fromkeys(epochs, int(number))
        elif name in epochs:
            epochs[name] = int(number)
        else:
            raise MinissrError(f"--epochs {part}: no such case; there are {', '.join(epochs)}")
    return epochs


def train_cases(
    cases: Sequence[Case],
    spec: str,
    out: Path,
    rows_file: Path,
    epochs: Mapping[str, int],
    report: Callable[[], Path],
) -> None:
    """Train what has no row yet, add its row, and write the report anew."""
    data = open_dataset(spec)
    check_comparable(read_rows(rows_file), data.digest, epochs, rows_file)
    while (wanted := next_run(cases, read_rows(rows_file))) is not None:
        case, seed = wanted
        run = out / f"{case.name}-{seed}"
        print(f"\n{case.name}, seed {seed}: {case.about}")
        train(arguments(case, seed, spec, run, epochs[case.name]), run)
        row = measured(case, seed, run, spec, data.digest)
        write_rows(rows_file, [*read_rows(rows_file), row])
        report()


def train(told: list[str], run: Path) -> None:
    """One run, from its beginning or from where it was interrupted.

    Raises
    ------
    DataError
        If the folder holds a run that was told something else.
    """
    from minissr import train as door

    if (run / "config.json").exists():
        check_same(run, door.of_new_run(*door.parsed(told)))
        told = ["--resume", str(run)]
    print(f"python -m minissr.train {shlex.join(told)}", flush=True)
    door.main(told)


def check_same(run: Path, wanted: TrainConfig) -> None:
    """Refuse an existing run of other faces or settings: its figures would pass for these."""
    file = run / "config.json"
    found = build_config((f"{file}: ", read_config_file(file)))
    # Of the places, what shapes the result; which threads and backend compute does not.
    mine, theirs = (
        {"data": config.data, "init": config.init, **config.recipe()} for config in (wanted, found)
    )
    other = [
        f"{key} {in_words(theirs, key)} instead of {in_words(mine, key)}"
        for key in mine | theirs
        if mine.get(key) != theirs.get(key)
    ]
    if other:
        raise DataError(f"{run} holds a run with {', '.join(other)}; name another --out")


def in_words(recipe: Mapping[str, Any], key: str) -> str:
    """One value of a recipe, which doesn't say what is as usual."""
    return show(recipe[key]) if key in recipe else "as usual"


def measured(case: Case, seed: int, run: Path, spec: str, digest: str) -> Row:
    """The row of a finished run; `digest` tells the faces of this study from others.

    Raises
    ------
    DataError
        If the run was trained on other faces.
    """
    from minissr.training import metrics
    from minissr.training.measure import predict_ages
    from minissr.training.network import load_network

    network = load_network(run / "last.safetensors")
    data = open_dataset(spec, seed=seed)  # synthetic ones differ by seed
    if network.about["data"]["digest"] != data.digest:
        raise DataError(f"{run} was trained on other faces than {spec}; name another --out")
    about: dict[str, Any] = {"data": digest, "parameters": network.model.parameter_count()}
    predicted = {}
    for split in ("val", "test"):
        if split in data.splits:
            faces = data.split(split)
            predicted[split] = predict_ages(network.model, faces.images, network.preprocessing)
    if "test" in predicted:
        figures = metrics.summary(predicted["test"], data.split("test").ages)
        about |= {f"test_{key}": figures[key] for key in ("mae", "ca3", "ca5")}
    return finished_row(case, seed, run, predicted["val"], about)
