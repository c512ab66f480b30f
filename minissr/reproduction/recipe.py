"""How the network that comes with minissr is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# The usual training, for longer. The changes of `recipes` have not been measured at this length;
# in 3 epochs none but leaving out augmentation, which learns faster, was ahead.
RECIPE: dict[str, Any] = {
    "model": "ssrnet",
    "variant": "minissr",
    "epochs": 180,  # twice as many as the paper
    "schedule": "cosine",
    "lr": 0.002,
    "batch_size": 50,
    "augment": "paper",
}


def arguments(data: str, run: Path, seed: int, epochs: int | None) -> list[str]:
    """What `python -m minissr.train` is told."""
    told = ["--data", data, "--seed", str(seed), "--out", str(run)]
    settings = RECIPE if epochs is None else {**RECIPE, "epochs": epochs}
    for key, value in settings.items():
        told += ["--set", f"{key}={value}"]
    return told
