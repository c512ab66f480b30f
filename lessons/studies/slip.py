"""The broadcasting slip, with and without, in the authors' graph on synthetic faces (lesson 16).

    python -m lessons.studies.slip         writes lessons/studies/results/slip.json

Both networks are the released graph; one is trained with the formula as it broadcast in the first
released code, the other with the formula as printed. About five minutes on two cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lessons.studies.common import faces_of, rounded, train_network, write_results
from minissr.data.preprocessing import Preprocessing
from minissr.data.synthetic import best_possible_mae
from minissr.training import metrics
from minissr.training.measure import predict_ages

RECIPE: dict[str, Any] = {"epochs": 12, "batch_size": 50, "lr": 0.002, "schedule": "cosine"}
FACES = {"train": 2000, "val": 500, "test": 1000}
SEEDS = (0, 1, 2)
FORMULAS = {"as printed": False, "with the slip": True}


def main() -> None:
    """Train both formulas with every seed and write what came out."""
    val, test = (faces_of(stream, FACES[stream]) for stream in ("val", "test"))
    runs = []
    for seed in SEEDS:
        train = faces_of("train", FACES["train"], seed)
        for formula, slip in FORMULAS.items():
            settings = {"variant": "released", "slip": slip}
            model, history = train_network(settings, train, val, seed=seed, **RECIPE)
            predicted = predict_ages(model, test.images, Preprocessing())
            told = model.explain(test.images)["stages"]
            runs.append({
                "formula": formula,
                "seed": seed,
                "history": history,
                "test": metrics.summary(predicted, test.ages),
                "youngest": float(predicted.min()),
                "index_std": [float(np.std(stage["index"])) for stage in told],
                "index_mean": [float(np.mean(stage["index"])) for stage in told],
            })  # fmt: skip
            print(f"seed {seed}  {formula:<14} test MAE {runs[-1]['test']['mae']:.2f} years")
    content = {
        "faces": FACES,
        "recipe": RECIPE,
        "best_possible_mae": best_possible_mae(),
        "median_mae": metrics.mean_absolute_error(
            np.full_like(test.ages, np.median(train.ages)), test.ages
        ),
        "runs": runs,
    }
    write_results("slip", "python -m lessons.studies.slip", rounded(content))


if __name__ == "__main__":
    main()
