"""What the ablation trains: one change at a time, each with the question it answers.

Two networks are taken apart. `released` is the authors' graph, where stages die; `base` has a
softmax and tanh where that has ReLUs, so that stages can live, and leaving a part out shows what
that part is worth. `minissr`, the network of this package, is what was chosen after that.
Everything else is the same in every run: faces, epochs, schedule, batches, augmentation, optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minissr.errors import MinissrError

SEEDS = 3  # of the cases that the claims are about, and wherever a difference is small

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


def blocks(activation: str) -> dict[str, Any]:
    """One activation in all hidden layers of the prediction blocks."""
    return dict.fromkeys(("activation_s", "activation_x", "activation_mix"), activation)


BASE = {**OURS, **blocks("tanh"), "head_rate": 1.0}


def base(name: str, about: str, *, seeds: int = 1, **changes: Any) -> Case:
    """The network that the study starts from, with something changed."""
    return Case(name, about, {**BASE, **changes}, "base", seeds)


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
    Case("base", "softmax p and tanh blocks", BASE, seeds=SEEDS),
    base("rigid", "without dynamic range: eta = delta = 0", seeds=SEEDS, **RIGID),
    base("eta-only", "bins shift but don't stretch", seeds=SEEDS, lambda_d=0.0),
    base("delta-only", "bins stretch but don't shift", seeds=SEEDS, lambda_local=0.0),
    base("single", "one stage of 27 bins, dynamic range", seeds=SEEDS, stages=[27]),
    base("dex", "one stage of 27 rigid bins, as DEX", seeds=SEEDS, stages=[27], **RIGID),
    base("two-stages", "stages 5, 5", stages=[5, 5]),
    base("four-stages", "stages 3, 3, 3, 3", stages=[3, 3, 3, 3]),
    base("falling", "stages 5, 3, 2", stages=[5, 3, 2]),
    base("rising", "stages 2, 3, 5", stages=[2, 3, 5]),
    base("levels-432", "stages look at levels 4, 3, 2, not 4, 2, 1", levels=[4, 3, 2]),
    base("alike", "both streams ReLU and average pooling", seeds=SEEDS, streams="alike"),
    base("one-stream", "one stream, seen from both sides", seeds=SEEDS, streams="one"),
    base("bias-0", "prediction blocks start with biases 0", first_bias=0.0),
    base("delta-full", "lambda_d 1 instead of 0.5", lambda_d=1.0),
    base("dropout", "dropout 0.2 before the prediction blocks", dropout=0.2),
    base("slow-statistics", "moving statistics with momentum 0.99", momentum=0.99),
    base("p-relu", "p a ReLU, as released", activation_p="relu"),
    base("p-softplus", "p a softplus", activation_p="softplus"),
    base("p-normalized", "p a softplus divided by its sum", activation_p="normalized"),
    base("leaky", "leaky ReLU in the prediction blocks", **blocks("leaky_relu")),
    base("softplus", "softplus in the prediction blocks", **blocks("softplus")),
    base("head-rate", "a tenth of the rate where features are read", head_rate=0.1),
    base(
        "softplus-tanh",
        "softplus before the product, tanh after it",
        seeds=SEEDS,
        activation_s="softplus",
        activation_x="softplus",
    ),
    Case(
        "minissr",
        "softplus-tanh with a tenth of the rate: chosen",
        OURS,
        "softplus-tanh",
        SEEDS,
    ),
    base("stage-loss", "a loss on the coarser stages, weight 0.3", stage_loss=0.3),
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
    Claim("Dynamic range lowers the error (the paper: 9.29 without).", "base", "rigid"),
    Claim("So it does in the authors' graph.", "released", "released-rigid"),
    Claim("So it does with the slip.", "released-slip", "released-slip-rigid"),
    Claim("Shifting bins (eta) alone helps.", "eta-only", "rigid"),
    Claim("Stretching bins (delta) alone helps.", "delta-only", "rigid"),
    Claim("Eta adds to delta.", "base", "delta-only"),
    Claim("Delta adds to eta.", "base", "eta-only"),
    Claim("Three small stages beat one stage of 27 bins.", "base", "single"),
    Claim("Rigid stages beat one rigid stage (DEX).", "rigid", "dex"),
    Claim("Two streams that differ beat two alike.", "base", "alike"),
    Claim("Two streams beat one.", "base", "one-stream"),
    Claim("The per-image formula beats the slip.", "released", "released-slip"),
    Claim("Softmax and tanh are better than the authors' ReLUs.", "base", "released"),
    Claim("Softplus before the product is better still.", "softplus-tanh", "base"),
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
