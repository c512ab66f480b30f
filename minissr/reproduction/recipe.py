"""How the network that comes with minissr is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Everything that shapes the result and isn't the default of `train`.
RECIPE: dict[str, Any] = {
    "model": "ssrnet",
    "variant": "minissr",
    "epochs": 60,
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
