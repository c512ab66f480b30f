"""The stored studies are those of the programs beside them, dated, and with several seeds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lessons.studies import heads, slip, training
from lessons.studies.common import RESULTS

STUDIES = ("heads_short", "heads_long", "slip", "training")


def stored(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", [*STUDIES, "speed"])
def test_it_says_when_and_how(name: str) -> None:
    about = stored(name)["about"]
    assert about["made_by"].startswith("python -m lessons.studies.")
    assert about["date"].startswith("20")
    assert about["processor"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_run_has_three_seeds(name: str) -> None:
    kinds: dict[str, set[int]] = {}
    for run in stored(name)["runs"]:
        kind = run.get("head") or run.get("formula") or run["augment"]
        kinds.setdefault(kind, set()).add(run["seed"])
    assert all(seeds == {0, 1, 2} for seeds in kinds.values())


@pytest.mark.parametrize("study", ["short", "long"])
def test_heads_are_the_programs(study: str) -> None:
    content = stored(f"heads_{study}")
    epochs, chosen = heads.STUDIES[study]
    assert content["recipe"] == {"epochs": epochs, **heads.RECIPE}
    assert content["faces"] == heads.FACES
    assert content["shared"] == heads.SHARED
    assert content["heads"] == json.loads(json.dumps({h: heads.HEADS[h] for h in chosen}))


@pytest.mark.parametrize(("name", "program"), [("slip", slip), ("training", training)])
def test_recipes_are_the_programs(name: str, program: Any) -> None:
    content = stored(name)
    assert content["recipe"] == program.RECIPE
    assert content["faces"] == program.FACES
