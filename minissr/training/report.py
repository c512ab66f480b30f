"""The end of a run: the best network measured, drawn, and described in `report.md`."""

from __future__ import annotations

import json
import shlex
from typing import Any

import numpy as np

from minissr.training import figures
from minissr.training.checkpoint import read_checkpoint
from minissr.training.evaluation import Evaluation, evaluate
from minissr.training.files import write_atomically, write_text
from minissr.training.metrics import mean_absolute_error
from minissr.training.results import comparison, decade_table, group_table, health_table
from minissr.training.session import Session
from minissr.training.state import load_weights


def draw_progress(session: Session) -> None:
    """Draw `curves.png` and `health.png` from the epochs so far."""
    history = session.progress.history
    ages = session.data.split("val").ages
    constant = np.full_like(ages, session.about["data"]["train_median"])
    lines = {
        "always the training faces' median": mean_absolute_error(constant, ages),
        "best possible": session.data.best_possible_mae,
    }
    write_atomically(session.run.curves, figures.curves(history, lines))
    if history[-1]["stage_health"]:
        write_atomically(session.run.health, figures.health(history))


def finish(session: Session) -> Evaluation:
    """Measure the best network and write the report; `report.md` last, as it means "finished"."""
    run = session.run
    load_weights(run.best, read_checkpoint(run.best), session.model)
    result = evaluate(
        session.model, session.data.preprocessing, session.data, check=session.stop.check
    )
    draw_progress(session)
    pictures = {
        "predictions.png": figures.predicted_against_true(result.predicted, result.faces.ages),
        "errors.png": figures.error_by_age(result.predicted, result.faces.ages),
        "faces.png": figures.best_and_worst(
            result.faces.images, result.predicted, result.faces.ages
        ),
    }
    for name, data in pictures.items():
        session.stop.check()
        write_atomically(run.path / name, data)
    write_text(run.report, report(session, result))
    return result


def report(session: Session, result: Evaluation) -> str:
    """The text of `report.md`."""
    best = session.progress.best
    assert best is not None
    where = f"{result.split}, {len(result.faces):,} faces"
    parts = [
        f"# {session.config.model} on {session.data.name}",
        session.data.describe() + ".",
        f"Trained for {session.epochs} epochs; measured is epoch {best['epoch']}, the one with "
        f"the lowest validation MAE ({best['val_mae']:.2f} years).",
        f"## Measured ({where})",
        code(comparison(result.figures, result.constant)),
        "![predicted against true age](predictions.png)",
        "## By age",
        code(decade_table(result.figures["by_decade"])),
        "![error by age](errors.png)",
        *groups_of(result),
        "## Training",
        "![learning curves](curves.png)",
        *health_of_run(session, result),
        "## Faces",
        "![best and worst predictions](faces.png)",
        "## Configuration",
        code([json.dumps(session.config.to_json(), indent=2)]),
    ]
    return "\n\n".join(parts) + "\n"


def closing(session: Session, result: Evaluation) -> list[str]:
    """What a finished training prints."""
    run = shlex.quote(str(session.run.path))
    return [
        "",
        f"the best epoch's network on {len(result.faces):,} {result.split} faces, in years:",
        *comparison(result.figures, result.constant),
        "",
        *health_table(result.figures["stage_health"]),
        "",
        f"report  {session.run.report}",
        f"next    python -m minissr.predict PICTURE --weights {run}",
    ]


def groups_of(result: Evaluation) -> list[str]:
    """A table for each label that divides the faces into groups."""
    groups: dict[str, list[dict[str, Any]]] = result.figures.get("by_group", {})
    if not groups:
        return []
    tables = [code(group_table(name, values)) for name, values in groups.items()]
    return ["## By group", *tables]


def health_of_run(session: Session, result: Evaluation) -> list[str]:
    """The stages' health at the end and on the way."""
    stages = result.figures["stage_health"]
    if not stages:
        return []
    return ["## Stages", code(health_table(stages)), f"![stage health]({session.run.health.name})"]


def code(lines: list[str]) -> str:
    """Lines as a Markdown code block, which keeps columns in place."""
    return "\n".join(["```", *lines, "```"])
