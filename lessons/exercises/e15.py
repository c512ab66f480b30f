"""The exercises of lesson 15: comparing heads."""

import numpy as np

from lessons.check import exercise
from lessons.checking import attempted, require, same
from lessons.solutions import e15 as right
from minissr.models import registry

MOST = 60_000


@exercise(
    "15.1",
    "summary",
    (
        "The mean is np.mean. How much do single seeds vary? np.std with ddof=1 divides by n - 1.",
        "A mean of n seeds varies less than one seed does: by the root of n.",
        "np.mean(maes), np.std(maes, ddof=1) / np.sqrt(len(maes)).",
    ),
)
def summary(answer):
    cases = [{"maes": np.float64(m)} for m in ([5, 7], [6, 6, 6], [7.2, 6.8, 6.9], [5, 9, 6, 8.5])]
    same(answer, right.summary, cases, name="summary")


@exercise(
    "15.2",
    "wins",
    (
        "For two and three seeds there are six pairs. Count by hand for [1, 4] and [2, 3, 4].",
        "a[:, None] < b[None, :] compares every pair at once, and its mean is a share.",
        "((a[:, None] < b) + 0.5 * (a[:, None] == b)).mean().",
    ),
)
def wins(answer):
    cases = [
        {"a": np.float64(a), "b": np.float64(b)}
        for a, b in (([1], [2]), ([2], [2]), ([1, 4], [2, 3, 4]), ([6, 7, 8], [5, 7, 9]))
    ]
    same(answer, right.wins, cases, name="wins")


@exercise(
    "15.3",
    "settings",
    (
        "One to four stages are possible; the numbers of bins are yours. Count with lesson 13.",
        'For instance two stages: {"stages": (5, 5), "lambda_d": 0.0, "lambda_local": 1.0}.',
        "Too many numbers? Fewer bins in the stage with the most: its dense layers grow with them.",
    ),
)
def settings(answer):
    from lessons.studies.heads import HEADS, SHARED

    chosen = attempted(answer() if callable(answer) else answer)
    try:
        network = registry.build("ssrnet", **{**SHARED, **chosen})
    except (TypeError, ValueError) as error:
        require(False, f"{chosen} builds no network: {error}")
    config = network.settings
    mine = (tuple(config.stages), config.lambda_d > 0, config.lambda_local > 0)
    taken = {
        (tuple(h["stages"]), h["lambda_d"] > 0, h["lambda_local"] > 0): name
        for name, h in HEADS.items()
    }
    require(mine not in taken, f"{chosen} is the study's {taken.get(mine)!r}")
    count = network.parameter_count()
    require(count <= MOST, f"{chosen} has {count:,} numbers; at most {MOST:,}")
    learns(chosen)


def learns(chosen):
    """A moment of training beats always saying the median, on the faces it learnt from."""
    from lessons.studies.common import faces_of, train_network
    from lessons.studies.heads import SHARED

    faces = faces_of("train", 150)
    quick = {**SHARED, "momentum": 0.8, "dropout": 0.0, **chosen}
    _, history = train_network(quick, faces, faces, epochs=8, seed=0, batch_size=25, lr=0.004,
                               schedule="constant")  # fmt: skip
    median = float(np.abs(faces.ages - np.median(faces.ages)).mean())
    best = min(epoch["val_mae"] for epoch in history)
    require(best < median, f"{chosen}: error {best:.1f} years; always the median has {median:.1f}")


WRONG = {
    "15.1": [
        lambda maes: (float(np.mean(maes)), float(np.std(maes, ddof=1))),
        lambda maes: (float(np.median(maes)), float(np.std(maes) / np.sqrt(len(maes)))),
    ],
    "15.2": [
        lambda a, b: float((a[:, None] <= b).mean()),
        lambda a, b: float(a.mean() < b.mean()),
    ],
    "15.3": [
        lambda: {"stages": (3, 3, 3), "lambda_d": 0.9, "lambda_local": 1.0},
        lambda: {"stages": (101,), "lambda_d": 0.0, "lambda_local": 1.0},
        lambda: {"stages": (5, 5, 5, 5, 5)},
    ],
}
