"""DEX, stagewise regression and dynamic range with one backbone, on synthetic faces (lesson 15).

    python -m lessons.studies.heads short    writes lessons/studies/results/heads_short.json
    python -m lessons.studies.heads long     writes lessons/studies/results/heads_long.json

Every network has the same two streams, prediction blocks of one kind and one recipe; only the head
differs. Small on purpose: 2,000 faces and three seeds; `short` has six heads and 10 epochs, `long`
three heads and 24 epochs. Each takes about ten minutes on two cores.
"""

from __future__ import annotations

import sys
from typing import Any

from lessons.studies.common import faces_of, measure, rounded, train_network, write_results
from minissr.data.preprocessing import Preprocessing
from minissr.data.synthetic import best_possible_mae
from minissr.training import metrics
from minissr.training.measure import predict_ages

# Spelled out, not taken from a variant, so that the study means the same next year.
SHARED: dict[str, Any] = {
    "variant": "minissr",
    "activation_p": "softmax",
    "activation_s": "tanh",
    "activation_x": "tanh",
    "activation_mix": "tanh",
    "head_rate": 1.0,
    "dropout": 0.2,
    "momentum": 0.99,
    "max_age": 101.0,
}
HEADS: dict[str, dict[str, Any]] = {
    "DEX, 101 bins": {"stages": (101,), "lambda_d": 0.0, "lambda_local": 0.0},
    "DEX, 27 bins": {"stages": (27,), "lambda_d": 0.0, "lambda_local": 0.0},
    "stagewise 3,3,3": {"stages": (3, 3, 3), "lambda_d": 0.0, "lambda_local": 0.0},
    "+ shifts": {"stages": (3, 3, 3), "lambda_d": 0.0, "lambda_local": 1.0},
    "+ stretches": {"stages": (3, 3, 3), "lambda_d": 0.9, "lambda_local": 0.0},
    "dynamic range": {"stages": (3, 3, 3), "lambda_d": 0.9, "lambda_local": 1.0},
}
STUDIES = {
    "short": (10, tuple(HEADS)),
    "long": (24, ("DEX, 101 bins", "stagewise 3,3,3", "dynamic range")),
}
RECIPE: dict[str, Any] = {"batch_size": 50, "lr": 0.002, "schedule": "cosine"}
FACES = {"train": 2000, "val": 500, "test": 1000}
SEEDS = (0, 1, 2)


def main(study: str) -> None:
    """Train the heads of a study with every seed and write what came out."""
    epochs, heads = STUDIES[study]
    recipe = {"epochs": epochs, **RECIPE}
    val, test = (faces_of(stream, FACES[stream]) for stream in ("val", "test"))
    runs = []
    for seed in SEEDS:
        train = faces_of("train", FACES["train"], seed)
        for head in heads:
            settings = {**SHARED, **HEADS[head]}
            model, history = train_network(settings, train, val, seed=seed, **recipe)
            predicted = predict_ages(model, test.images, Preprocessing())
            runs.append({
                "head": head,
                "seed": seed,
                "parameters": model.parameter_count(),
                "val_mae": [epoch["val_mae"] for epoch in history],
                "test": metrics.summary(predicted, test.ages),
                "by_decade": metrics.by_decade(predicted, test.ages),
                "stage_health": measure(model, val)["stage_health"],
            })  # fmt: skip
            print(f"seed {seed}  {head:<16} test MAE {runs[-1]['test']['mae']:.2f} years")
    content = {
        "faces": FACES,
        "recipe": recipe,
        "shared": SHARED,
        "heads": {head: HEADS[head] for head in heads},
        "best_possible_mae": best_possible_mae(),
        "runs": runs,
    }
    write_results(f"heads_{study}", f"python -m lessons.studies.heads {study}", rounded(content))


if __name__ == "__main__":
    if sys.argv[1:] not in (["short"], ["long"]):
        sys.exit("python -m lessons.studies.heads short|long")
    main(sys.argv[1])
