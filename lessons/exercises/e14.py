"""The exercises of lesson 14: training."""

import numpy as np

from lessons.check import exercise
from lessons.checking import call, compare, require, same
from lessons.solutions import e14 as right


@exercise(
    "14.1",
    "step_schedule",
    (
        "Which epoch is `step` in? A whole number: step // steps_per_epoch.",
        "Count how many of the two marks, epochs / 3 and 2 epochs / 3, are reached.",
        "lr * 0.1 ** ((epoch >= epochs / 3) + (epoch >= 2 * epochs / 3)).",
    ),
)
def step_schedule(answer):
    cases = [
        {"step": step, "lr": 0.002, "epochs": epochs, "steps_per_epoch": 4}
        for epochs in (3, 6, 10, 90)
        for step in range(0, 4 * epochs, 4 if epochs == 10 else 1)
    ]
    same(answer, right.step_schedule, cases, name="step_schedule", tol=1e-12)


@exercise(
    "14.2",
    "by_decade",
    (
        "Which decade does somebody of 37 belong to, predicted as 42? Look at the true age.",
        "true // 10 * 10 is the decade's first year; np.unique lists those that occur.",
        "{int(d): np.abs(predicted - true)[decade == d].mean() for d in np.unique(decade)}.",
    ),
)
def by_decade(answer):
    rng = np.random.default_rng(14)
    for n in (1, 2, 5, 40):
        true = rng.integers(0, 100, n).astype(np.float64)
        case = {"predicted": (true + rng.normal(0, 9, n)).round(1), "true": true}
        got, wanted = call(answer, case, name="by_decade"), right.by_decade(**case)
        require(isinstance(got, dict), "by_decade returns a dict")
        compare(sorted(got), sorted(wanted), case, name="the keys of by_decade")
        compare([got[d] for d in sorted(wanted)], [wanted[d] for d in sorted(wanted)], case,
                name="the values of by_decade")  # fmt: skip


@exercise(
    "14.3",
    "flip",
    (
        "images is (N, rows, columns, colours): along which axis does left become right?",
        "images[chosen][:, :, ::-1] is the chosen ones mirrored; now where do they go?",
        "flipped = images.copy(); flipped[chosen] = images[chosen][:, :, ::-1].",
    ),
)
def flip(answer):
    rng = np.random.default_rng(14)
    for n, h, w in ((1, 1, 2), (2, 2, 3), (5, 4, 4)):
        for chosen in (np.ones(n, bool), np.zeros(n, bool), rng.random(n) < 0.5):
            case = {
                "images": rng.integers(0, 99, (n, h, w, 3)).astype(np.float64),
                "chosen": chosen,
            }
            given = case["images"].copy()
            got = answer(given, chosen.copy())
            if got is None:
                call(answer, case, name="flip")
            require(np.array_equal(given, case["images"]), "flip changed the faces it was given")
            compare(got, right.flip(**case), case, name="flip")


@exercise(
    "14.4",
    "weights",
    (
        "Ten faces in their twenties and one in the nineties: which weight makes both equal?",
        "One over the number of faces of the decade; np.unique can count (return_counts).",
        "w = 1 / count[where]; w / w.mean().",
    ),
)
def weights(answer):
    rng = np.random.default_rng(14)
    for n in (1, 2, 3, 10, 100):
        case = {"ages": rng.choice([5, 7, 22, 25, 28, 29, 61, 90], n).astype(np.float64)}
        got = np.asarray(call(answer, case, name="weights"), np.float64)
        compare(got.shape, (n,), case, name="the shape of weights")
        require(got.min() > 0, f"a weight is {got.min()}, not positive")
        compare(got.mean(), 1.0, case, name="the mean of weights")
        decade = case["ages"] // 10
        totals = [got[decade == d].sum() for d in np.unique(decade)]
        compare(totals, np.full(len(totals), np.mean(totals)), case, name="decades' totals of")


WRONG = {
    "14.1": [
        lambda step, lr, epochs, n: lr * 0.1 ** (step // (epochs // 3)),  # steps, not epochs
        lambda step, lr, epochs, n: lr * 0.1 ** (step // (epochs // 3 * n)),  # 10 epochs: 3 thirds
        lambda step, lr, epochs, n: lr,
    ],
    "14.2": [
        lambda predicted, true: right.by_decade(true, predicted),
        lambda predicted, true: {
            d: abs(float((predicted - true)[true // 10 * 10 == d].mean()))
            for d in right.by_decade(predicted, true)
        },
    ],
    "14.3": [
        lambda images, chosen: right.flip(images.swapaxes(1, 2), chosen).swapaxes(1, 2),  # rows
        lambda images, chosen: images[:, :, ::-1],
    ],
    "14.4": [
        lambda ages: np.ones_like(ages),
        lambda ages: 1 / right.weights(ages),
    ],
}
