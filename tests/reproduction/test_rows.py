"""Which runs an ablation still needs, and what it concludes from the rows it has."""

from __future__ import annotations

import json

import pytest

from minissr.errors import DataError, MinissrError
from minissr.models import registry
from minissr.reproduction import rows as table
from minissr.reproduction.cases import CASES, CLAIMS, METHODS, SEEDS, TRAINING, Case, Claim, choose
from minissr.reproduction.recipes import RECIPES
from minissr.reproduction.report import sentence, verdict
from minissr.reproduction.runs import check_same, epochs_of
from minissr.training.config import TrainConfig, build_config

BASE = Case("base", "as it is", {}, seeds=SEEDS)
OTHER = Case("other", "with one thing changed", {"lambda_d": 0.0}, against="base")


def rows_of(name, *errors):
    return [{"case": name, "seed": seed, "val_mae": error} for seed, error in enumerate(errors)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_can_be_built_and_told_to_train(case, tmp_path):
    registry.build("ssrnet", **case.settings)
    told = table.arguments(case, 1, "synthetic", tmp_path, 20)
    settings = dict(item.split("=", 1) for item in told if "=" in item)
    config = build_config(("", settings))
    assert config.epochs == 20
    assert config.schedule == "step"
    for key, value in case.settings.items():
        assert config.model_settings[key] == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("case", [*METHODS, *RECIPES], ids=lambda case: case.name)
def test_every_method_and_recipe_can_be_told_to_train(case, tmp_path):
    told = table.arguments(case, 0, "synthetic", tmp_path, 10)
    config = build_config(("", dict(item.split("=", 1) for item in told if "=" in item)))
    assert config.model == case.settings.get("model", "ssrnet")
    registry.build(config.model, **config.model_settings)


def test_names_are_unique_and_comparisons_exist():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert {case.against for case in CASES} - {None} <= set(names)


def test_what_the_claims_are_about_is_trained_with_all_seeds():
    seeds = {case.name: case.seeds for case in CASES}
    assert {seeds[name] for claim in CLAIMS for name in (claim.better, claim.worse)} == {SEEDS}


def test_what_is_changed_within_the_stages_costs_no_parameters():
    """A better error mustn't come from more numbers, unless these are what a case is about."""
    counts = {c.name: registry.build("ssrnet", **c.settings).parameter_count() for c in CASES}
    of_other_shape = {"single", "dex", "two-stages", "four-stages", "falling", "rising"}
    of_other_shape |= {"one-stream", "paper"}
    assert {name for name, count in counts.items() if count != 40_915} == of_other_shape


def test_runs_come_seed_by_seed():
    order, rows = [], []
    while (run := table.next_run([BASE, OTHER], rows)) is not None:
        order.append((run[0].name, run[1]))
        rows += [{"case": run[0].name, "seed": run[1], "val_mae": 5.0 + 3 * (run[0] is OTHER)}]
    assert order == [("base", 0), ("other", 0), ("base", 1), ("base", 2)]


@pytest.mark.parametrize(("error", "seeds"), [(6.0, 1), (5.15, SEEDS), (4.85, SEEDS), (4.0, 1)])
def test_a_small_difference_is_looked_at_with_more_seeds(error, seeds):
    rows = rows_of("base", 4.9, 5.0, 5.1) + rows_of("other", error)  # the spread is 0.1
    assert table.seeds_wanted(OTHER, rows) == seeds
    missing = table.next_run([BASE, OTHER], rows)
    assert missing == (None if seeds == 1 else (OTHER, 1))


def test_rows_survive_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert table.read_rows(path) == []
    rows = [dict.fromkeys(table.KEYS, 1) | row for row in rows_of("base", 5.0, 6.0)]
    table.write_rows(path, rows)
    assert table.read_rows(path) == rows


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"case": "base"}', '{"case": "base", "seed": 0}', "3"]
)
def test_a_damaged_row_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(dict.fromkeys(table.KEYS, 1)) + "\n" + line + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl, line 2, is no row"):
        table.read_rows(path)


def test_rows_of_other_faces_are_refused():
    rows = [{"case": "base", "seed": 0, "data": "abc", "epochs": 20}]
    table.check_comparable(rows, "abc", {"base": 20}, "rows.jsonl")
    table.check_comparable(rows, "abc", {"other": 90}, "rows.jsonl")
    with pytest.raises(DataError, match="other faces"):
        table.check_comparable(rows, "abd", {"base": 20}, "rows.jsonl")
    with pytest.raises(DataError, match="of 20 epochs"):
        table.check_comparable(rows, "abc", {"base": 90}, "rows.jsonl")


def test_a_run_of_other_faces_is_not_taken_up(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TrainConfig(data="/a").to_json()))
    check_same(tmp_path, TrainConfig(data="/a", threads=1))
    with pytest.raises(DataError, match="a run with data /a instead of /b; name another --out"):
        check_same(tmp_path, TrainConfig(data="/b"))


def test_epochs_of_all_and_of_some():
    cases = (BASE, Case("slow", "costs more", epochs=10))
    usual = TRAINING["epochs"]
    assert epochs_of(None, cases) == {"base": usual, "slow": 10}
    assert epochs_of("3", cases) == {"base": 3, "slow": 3}
    assert epochs_of("slow=2", cases) == {"base": usual, "slow": 2}
    assert epochs_of("3,slow=2", cases) == {"base": 3, "slow": 2}
    for told in ("0", "x", "slow=", "slow=0", "3,", "-1"):
        with pytest.raises(MinissrError, match="expected a whole number"):
            epochs_of(told, cases)
    with pytest.raises(MinissrError, match="slwo=3: no such case; there are base, slow"):
        epochs_of("slwo=3", cases)


def test_unknown_cases_are_named():
    assert choose(None) == CASES
    with pytest.raises(MinissrError, match="--cases dexx: no such case; there are released"):
        choose(["minissr", "dexx"])


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ((5.0, 5.1), (6.0, 6.1), "Holds"),
        ((6.0, 6.1), (5.0, 5.1), "Contradicted"),
        ((5.0, 5.1), (5.05, 5.2), "Not told by these runs"),
        ((5.0,), (6.0,), "Open, one seed"),
        ((5.0, 5.1), (6.0,), "Open, one seed"),
    ],
)
def test_verdicts(better, worse, expected):
    assert verdict(rows_of("a", *better), rows_of("b", *worse)) == expected


def test_a_claim_without_rows_says_so():
    assert sentence(Claim("It helps.", "base", "other"), rows_of("base", 5.0)).endswith(
        "Not run yet."
    )


def test_numbers_are_short():
    assert table.rounded({"a": [1.23456789, True, 3], "b": {"c": 2.0}}) == {
        "a": [1.2346, True, 3],
        "b": {"c": 2.0},
    }
