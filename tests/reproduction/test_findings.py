"""What the report says beyond errors, from rows made up for it."""

from __future__ import annotations

from minissr.reproduction import findings
from minissr.reproduction.cases import CASES


def row(case, mae, p_std, alive, lowest=1.0, seed=0):
    stage = {"own_std": 2.0, "mean_width": 30.0, "p_std": p_std, "eta_std": None, "delta_std": 0.2,
             "dead_share": 0.5, "alive": alive}  # fmt: skip
    return {
        "case": case,
        "seed": seed,
        "val_mae": mae,
        "lowest_age": lowest,
        "live_stages": int(alive),
        "stages": 1,
        "stage_health": [stage],
    }


def present(rows):
    return [case for case in CASES if any(r["case"] == case.name for r in rows)]


def test_the_slip_is_told_by_numbers():
    assert findings.slip([row("released", 7.0, 0.1, True)]) == ["Not run yet."]
    rows = [
        row("released", 7.0, 0.1, True),
        row("released-slip", 8.5, 0.001, False, lowest=15.0),
        row("released-slip", 8.3, 0.003, False, lowest=14.5, seed=1),
        row("released-slip-rigid", 14.9, 0.0, False),
    ]
    text = "\n".join(findings.slip(rows))
    assert "| with the slip | 8.40 | 0.002 | 0.000 | 0.200 | 14.5 | 0/1 0/1 |" in text
    assert "| per-image formula | 7.00 | 0.100 | 0.000 | 0.200 | 1.0 | 1/1 |" in text
    assert "adds to the error: with the slip +6.50 years" in text


def test_what_brings_stages_to_life():
    rows = [
        row("released", 7.0, 0.1, False),
        row("released-leaky", 6.8, 0.1, True),
        row("released-slip", 8.4, 0.1, False),
        row("bias-0", 7.0, 0.1, False),
        row("base", 6.5, 0.1, True),
    ]
    assert findings.life(present(rows), rows) == [
        "Added to the authors' graph (itself: 0/1 alive):",
        "",
        "- leaky ReLU in the prediction blocks: 1/1",
        "",
        "Changed in the base (itself: 1/1 alive):",
        "",
        "- prediction blocks start with biases 0: 0/1",
    ]
    assert findings.life((), []) == ["Not run yet."]


def test_health_is_the_mean_over_seeds():
    rows = [row("base", 6.5, 0.1, True), row("base", 6.5, 0.3, False, seed=1)]
    assert findings.health(present(rows), rows)[2:] == [
        "| base | 1 | 2.00 | 30.00 | 0.200 | 0.000 | 0.200 | 50% | 1 of 2 |"
    ]


def test_what_is_changed_is_there():
    assert set(findings.CHANGED) <= {case.name for case in CASES}
