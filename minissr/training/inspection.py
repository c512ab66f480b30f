"""What a network's stages do with faces, found out from its weights and the faces alone.

Stage health (see `health`) is a verdict; here are the reasons for it: which of p, eta and delta are
the same number for every face, how the others are distributed, and which ages can be reached at all
if what is constant over these faces is constant for every face.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.training.health import StageHealth, join, judge, spread

CONSTANT = 1e-6  # a spread below that is the rounding of float32
PARTS = ("p", "eta", "delta")

Interval = tuple[float, float]
# The values that an activation can give; softmax, which also adds up to 1, is treated apart.
RANGES: dict[str, Interval] = {
    "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "tanh": (-1.0, 1.0),
    "softmax": (0.0, 1.0),
}
ANY: Interval = (-np.inf, np.inf)


@dataclass(frozen=True)
class Stage:
    """One stage over a set of faces.

    Attributes
    ----------
    health : StageHealth
    parts : dict of str to ndarray
        `p`, `eta` (N, S) and `delta` (N, 1).
    constant : tuple of str
        Those of `PARTS` that are the same numbers for every face.
    own : ndarray (N,)
        What the stage adds to the ages by itself, in years: as `StageHealth.own_std`, with all
        widths at their means.
    """

    health: StageHealth
    parts: dict[str, np.ndarray]
    constant: tuple[str, ...]
    own: np.ndarray


@dataclass(frozen=True)
class Inspection:
    """A network over a set of faces.

    Attributes
    ----------
    stages : list of Stage
        Coarsest first; empty for a network without stages.
    ages : ndarray (N,)
        What it says of the faces, in years.
    reachable : (float, float) or None
        Lowest and highest age the network can give, in years, as long as what is constant over
        these faces is constant; None for a network without stages. Ends aren't always attained.
    """

    stages: list[Stage]
    ages: np.ndarray
    reachable: Interval | None

    @property
    def alive(self) -> int:
        """How many stages are alive."""
        return sum(stage.health.alive for stage in self.stages)


def inspect_stages(model: Any, images: np.ndarray, batch_size: int = 256) -> Inspection:
    """Look at the stages of a network that has some.

    Parameters
    ----------
    model : SSRNet
    images : ndarray (N, H, W, 3)
        Two or more, as the network wants them.
    batch_size : int
        Images looked at together.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} faces to inspect; give at least 2, as they are compared")
    told = [
        model.explain(images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    settings = model.settings
    stages = []
    for k in range(len(settings.stages)):
        seen = join(batch["stages"][k] for batch in told)
        health = judge(k + 1, seen, settings.lambda_d > 0, settings.lambda_local > 0)
        parts = {"p": seen["p"], "eta": seen["eta"], "delta": seen["delta"][:, None]}
        constant = tuple(name for name in PARTS if spread(parts[name]) < CONSTANT)
        stages.append(Stage(health, parts, constant, seen["width"].mean() * seen["index"]))
    ages = np.concatenate([batch["age"] for batch in told])
    return Inspection(stages, ages, reachable_ages(settings, [stage.parts for stage in stages]))


# ---- reachable ages --------------------------------------------------------------------------


def reachable_ages(settings: Any, stages: list[dict[str, np.ndarray]]) -> Interval:
    """Lowest and highest age, in years, that the stagewise formula can give.

    With f_k = max(1 + c_d delta_k, floor) the age is nested (Yang et al. 2018, Eq. 7),

        age = min_age + V r_1,   r_k = (q_k + r_(k+1)) / (s_k f_k),   r_(K+1) = 0,

    and each r_k grows with q_k and r_(k+1) and depends on f_k through 1 / f_k alone, so intervals
    of q_k, f_k give the interval of r_k by its corners, from the finest stage up. What is constant
    over the faces is an interval of one number; the rest goes as far as its activation lets it.

    Parameters
    ----------
    settings : models.ssrnet.Settings
    stages : list of dict
        `p`, `eta` (N, S) and `delta` (N, 1) of each stage, coarsest first.
    """
    r: Interval = (0.0, 0.0)
    for bins, parts in reversed(list(zip(settings.stages, stages, strict=True))):
        q = index_range(settings, parts["p"], parts["eta"])
        delta = range_of(parts["delta"][:, 0], (-1.0, 1.0))
        stretch = [max(1 + settings.lambda_d * end, settings.floor) for end in delta]
        low, high = (1 / (bins * f) if f > 0 else np.inf for f in (stretch[1], stretch[0]))
        r = product((q[0] + r[0], q[1] + r[1]), (low, high))
    low, high = product(r, (settings.max_age - settings.min_age,) * 2)
    return settings.min_age + low, settings.min_age + high


def index_range(settings: Any, p: np.ndarray, eta: np.ndarray) -> Interval:
    """The values q = sum_i p_i (i + c_eta eta_i) can have; p, eta (N, S)."""
    places = []
    for i in range(p.shape[1]):
        shift = range_of(eta[:, i], (-1.0, 1.0))
        places.append(tuple(i + settings.lambda_local * end for end in shift))
    if settings.activation_p == "softmax" and spread(p) >= CONSTANT:
        return min(low for low, _ in places), max(high for _, high in places)
    full = RANGES.get(settings.activation_p, ANY)
    terms = [product(range_of(p[:, i], full), (low, high)) for i, (low, high) in enumerate(places)]
    return sum(low for low, _ in terms), sum(high for _, high in terms)


def range_of(values: np.ndarray, full: Interval) -> Interval:
    """`full`, or the one number that all of `values` (N,) are."""
    if spread(values) >= CONSTANT:
        return full
    mean = float(values.mean())
    return mean, mean


def product(a: Interval, b: Interval) -> Interval:
    """The interval of x y for x in a and y in b; 0 times infinity is 0, as an end not attained."""
    corners = [x * y if x and y else 0.0 for x in a for y in b]
    return min(corners), max(corners)
