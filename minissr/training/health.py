"""Stage health: which stages of a stagewise network still look at the face.

A stage is dead when its answer is the same for every face. The age may look right all the same:
the released imdb, wiki and morph2 weights have constants for p and eta in all three stages, and
only delta moves their ages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

OWN_SHARE = 0.05  # of a bin's mean width: less than that is no contribution
SPREAD = 0.01  # of p, eta or delta


@dataclass(frozen=True)
class StageHealth:
    """One stage over a set of images.

    Attributes
    ----------
    stage : int
        1 is the coarsest.
    own_std : float
        Standard deviation over images, in years, of what the stage adds to the age with all bin
        widths held at their means: mean(w_k) sum_i p_i (i + c_e eta_i). A stage doesn't count as
        alive because a coarser one's delta moves it.
    mean_width : float
        Of a bin, in years.
    p_std, eta_std : float
        Root mean square over bins of the standard deviation over images.
    delta_std : float
        Standard deviation over images.
    dead_share : float
        Share of the units of the prediction block that are 0 for every image.
    dead_layers : tuple of str
        Layers of the prediction block in which all are.
    alive : bool
        own_std > 0.05 mean_width, p_std > 0.01, eta_std and delta_std > 0.01 where the network uses
        them, and no dead layer.
    """

    stage: int
    own_std: float
    mean_width: float
    p_std: float
    eta_std: float
    delta_std: float
    dead_share: float
    dead_layers: tuple[str, ...]
    alive: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number isn't finite, as in a network that diverged."""
        values = asdict(self)
        del values["dead_layers"]  # told by dead_share, and by the warning that names them
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }


def stage_health(model: Any, images: Any, batch_size: int = 256) -> list[StageHealth]:
    """The health of every stage, coarsest first; empty for a network without stages.

    Parameters
    ----------
    model : Module
        Any; stages are what SSRNet's `explain` tells of.
    images : ndarray (N, 64, 64, 3)
        Two or more, in the colour order the network was trained on; may be memory-mapped.
    batch_size : int
        Images looked at together.
    """
    explain = getattr(model, "explain", None)
    if explain is None:
        return []
    if len(images) < 2:
        raise ValueError(f"stage health of {len(images)} images; needs at least 2, as it compares")
    parts = [
        explain(np.asarray(images[start : start + batch_size]))["stages"]
        for start in range(0, len(images), batch_size)
    ]
    uses_delta, uses_eta = model.settings.lambda_d > 0, model.settings.lambda_local > 0
    return [
        judge(k + 1, join(part[k] for part in parts), uses_delta, uses_eta)
        for k in range(len(parts[0]))
    ]


def join(batches: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The explanations of a stage, batch after batch, as one."""
    batches = list(batches)
    joined: dict[str, Any] = {
        name: np.concatenate([batch[name] for batch in batches]).astype(np.float64)
        for name in ("p", "eta", "delta", "width", "index")
    }
    joined["used"] = {
        layer: np.any([(batch["hidden"][layer] != 0).any(axis=0) for batch in batches], axis=0)
        for layer in batches[0]["hidden"]
    }
    return joined


def judge(stage: int, seen: dict[str, Any], uses_delta: bool, uses_eta: bool) -> StageHealth:
    """The verdict on one stage.

    Parameters
    ----------
    stage : int
    seen : dict
        `p`, `eta` (N, S); `delta`, `width`, `index` (N,); `used`, by layer of the prediction
        block, which units (units,) aren't 0 for some image.
    uses_delta, uses_eta : bool
        Whether the network has that part.
    """
    mean_width = float(seen["width"].mean())
    own_std = mean_width * float(seen["index"].std())
    p_std, eta_std, delta_std = (spread(seen[name]) for name in ("p", "eta", "delta"))
    dead_layers = tuple(layer for layer, used in seen["used"].items() if not used.any())
    alive = (
        own_std > OWN_SHARE * mean_width
        and p_std > SPREAD
        and (eta_std > SPREAD or not uses_eta)
        and (delta_std > SPREAD or not uses_delta)
        and not dead_layers
    )
    return StageHealth(
        stage=stage,
        own_std=own_std,
        mean_width=mean_width,
        p_std=p_std,
        eta_std=eta_std,
        delta_std=delta_std,
        dead_share=1 - float(np.concatenate(list(seen["used"].values())).mean()),
        dead_layers=dead_layers,
        alive=bool(alive),
    )


def spread(values: np.ndarray) -> float:
    """Root mean square over bins of the standard deviation over images; (N,) or (N, S)."""
    return float(np.sqrt(values.var(axis=0).mean()))
