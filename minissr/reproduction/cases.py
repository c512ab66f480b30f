"""What the ablation trains: one change at a time, each with the question it answers.

Two networks are taken apart. `released` is the authors' graph, where stages die; `minissr` is ours,
where all are alive, so that leaving a part out shows what that part is worth. Everything else is
the same in every run: faces, epochs, schedule, batches, augmentation, optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minissr.errors import MinissrError

SEEDS = 3  # of the cases that matter most, and wherever a difference is small

# The paper's schedule for 20 epochs: a tenth of the rate after 7 and after 14.
TRAINING: dict[str, Any] = {
    "epochs": 20,
    "schedule": "step",
    "lr": 0.002,
    "batch_size": 50,
    "augment": "paper",
    "optimizer": "adam",
}


@dataclass(frozen=True)
class Case:
    """One network of the ablation.

    Attributes
    ----------
    name : str
        Of its run directories and rows.
    about : str
        What is different, in words.
    settings : dict
        Of the network: its variant and what is changed.
    against : str or None
        The case it differs from in this one thing.
    seeds : int
        Trained with at least; more where the difference is within twice the spread.
    epochs : int or None
        Unless told otherwise; None is that of `TRAINING`.
    """

    name: str
    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    against: str | None = None
    seeds: int = 1
    epochs: int | None = None


RIGID = {"lambda_d": 0.0, "lambda_local": 0.0}
OURS, AUTHORS = {"variant": "minissr"}, {"variant": "released"}


def blocks(activation: str) -> dict[str, str]:
    """One activation in all hidden layers of the prediction blocks."""
    return dict.fromkeys(("activation_s", "activation_x", "activation_mix"), activation)


def ours(name: str, about: str, *, seeds: int = 1, **changes: Any) -> Case:
    """Our network with something changed."""
    return Case(name, about, {**OURS, **changes}, "minissr", seeds)


def authors(name: str, about: str, *, seeds: int = 1, **changes: Any) -> Case:
    """The authors' graph, by the per-image formula, with something changed."""
    return Case(name, about, {**AUTHORS, **changes}, "released", seeds)


CASES = (
    Case("released", "the authors' graph, per-image formula", AUTHORS, seeds=SEEDS),
    authors("released-slip", "with the (N, N) broadcasting slip", seeds=SEEDS, slip=True),
    authors("released-rigid", "without dynamic range", seeds=SEEDS, **RIGID),
    Case(
        "released-slip-rigid",
        "with the slip and without dynamic range",
        {**AUTHORS, **RIGID, "slip": True},
        "released-slip",
        SEEDS,
    ),
    Case("minissr", "ours, all parts at work", OURS, seeds=SEEDS),
    ours("rigid", "without dynamic range: eta = delta = 0", seeds=SEEDS, **RIGID),
    ours("eta-only", "bins shift but don't stretch", seeds=SEEDS, lambda_d=0.0),
    ours("delta-only", "bins stretch but don't shift", seeds=SEEDS, lambda_local=0.0),
    ours("single", "one stage of 27 bins, dynamic range", seeds=SEEDS, stages=[27]),
    ours("dex", "one stage of 27 rigid bins, as DEX", seeds=SEEDS, stages=[27], **RIGID),
    ours("two-stages", "stages 5, 5", stages=[5, 5]),
    ours("four-stages", "stages 3, 3, 3, 3", stages=[3, 3, 3, 3]),
    ours("falling", "stages 5, 3, 2", stages=[5, 3, 2]),
    ours("rising", "stages 2, 3, 5", stages=[2, 3, 5]),
    ours("alike", "both streams ReLU and average pooling", streams="alike"),
    ours("one-stream", "one stream, seen from both sides", streams="one"),
    ours("bias-0", "prediction blocks start with biases 0", first_bias=0.0),
    ours("delta-full", "lambda_d 1 instead of 0.5", lambda_d=1.0),
    ours("dropout", "dropout 0.2 before the prediction blocks", dropout=0.2),
    ours("slow-statistics", "moving statistics with momentum 0.99", momentum=0.99),
    ours("p-relu", "p a ReLU, as released", activation_p="relu"),
    ours("p-softplus", "p a softplus", activation_p="softplus"),
    ours("p-normalized", "p a softplus divided by its sum", activation_p="normalized"),
    ours("leaky", "leaky ReLU in the prediction blocks", **blocks("leaky_relu")),
    ours("softplus", "softplus in the prediction blocks", **blocks("softplus")),
    ours("stage-loss", "a loss on the coarser stages, weight 0.3", stage_loss=0.3),
    authors("released-leaky", "leaky ReLU in the prediction blocks", **blocks("leaky_relu")),
    authors("released-softplus", "softplus in the prediction blocks", **blocks("softplus")),
    authors("released-softmax", "p a softmax", activation_p="softmax"),
    authors("released-normalized", "p a softplus divided by its sum", activation_p="normalized"),
    authors("released-bias-1", "prediction blocks start with biases 1", first_bias=1.0),
    authors("released-delta-half", "lambda_d 0.5 instead of 1", lambda_d=0.5),
    authors("released-stage-loss", "a loss on the coarser stages, weight 0.3", stage_loss=0.3),
    authors("paper", "the paper's text and figure", variant="paper"),
)


@dataclass(frozen=True)
class Claim:
    """A sentence that the rows confirm, contradict or leave open: one case is better."""

    words: str
    better: str
    worse: str


CLAIMS = (
    Claim("Dynamic range lowers the error (the paper: 9.29 without).", "minissr", "rigid"),
    Claim("So it does in the authors' graph.", "released", "released-rigid"),
    Claim("Shifting bins (eta) alone helps.", "eta-only", "rigid"),
    Claim("Stretching bins (delta) alone helps.", "delta-only", "rigid"),
    Claim("Eta adds to delta.", "minissr", "delta-only"),
    Claim("Delta adds to eta.", "minissr", "eta-only"),
    Claim("Three small stages beat one stage of 27 bins.", "minissr", "single"),
    Claim("Rigid stages beat one rigid stage (DEX).", "rigid", "dex"),
    Claim("Two streams that differ beat two alike.", "minissr", "alike"),
    Claim("Two streams beat one.", "minissr", "one-stream"),
    Claim("The per-image formula beats the slip.", "released", "released-slip"),
    Claim("Stages that are alive are worth something.", "minissr", "released"),
)


# The compact rivals of the paper (Figure 2, Table 2), each trained by the same command. The first
# two are those of the ablation, by name too: rows of the one are rows of the other.
METHODS = (
    Case("minissr", "SSR-Net, ours", OURS),
    Case("released", "SSR-Net as released", AUTHORS),
    Case("mobilenet", "MobileNet 0.25", {"model": "mobilenet", "alpha": 0.25}),
    # An epoch of it costs 14 of SSR-Net.
    Case("densenet", "DenseNet 19", {"model": "densenet", "depth": 19}, epochs=10),
)


def choose(names: Iterable[str] | None, among: tuple[Case, ...] = CASES) -> tuple[Case, ...]:
    """The cases of these names, all if None. Raises MinissrError naming what there is."""
    if names is None:
        return among
    table = {case.name: case for case in among}
    names = list(names)
    for name in names:
        if name not in table:
            raise MinissrError(f"--cases {name}: no such case; there are {', '.join(table)}")
    return tuple(table[name] for name in names)
