"""What the studies share: one training as short as it can be, and a dated file of results."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

import minissr
from minissr.data.faces import FaceSet
from minissr.data.loader import Batches
from minissr.data.preprocessing import Preprocessing
from minissr.data.synthetic import draw_faces
from minissr.kernels.backend import use_backend
from minissr.models.registry import build
from minissr.training import metrics
from minissr.training.measure import health_of, predict_ages
from minissr.training.optim import Adam, build_schedule

RESULTS = Path(__file__).resolve().parent / "results"


def faces_of(stream: str, count: int, seed: int = 0) -> FaceSet:
    """`count` synthetic faces of "train", "val" or "test"."""
    images, ages, _ = draw_faces(count, stream=stream, seed=seed)
    return FaceSet(images, ages)


def train_network(
    settings: dict[str, Any],
    faces: FaceSet,
    val: FaceSet,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 50,
    lr: float = 0.002,
    schedule: str = "cosine",
    augment: str = "none",
    backend: str = "auto",
) -> tuple[Any, list[dict[str, Any]]]:
    """Train a network with Adam on the mean absolute error.

    Parameters
    ----------
    settings : dict
        What `registry.build("ssrnet", ...)` is given.
    faces, val : FaceSet
        To learn from, and to measure on after each epoch.
    epochs, seed, batch_size, lr, schedule, augment
        As `python -m minissr.train` calls them.

    Returns
    -------
    model, history
        `history` has a dict an epoch: `epoch`, `train_mae`, `val_mae` (years), `stage_health`.
    """
    with use_backend(backend) as chosen:
        model = build("ssrnet", rng=np.random.default_rng(seed), **settings).to(chosen)
        optimizer = Adam(model.parameters(), lr)
        batches = Batches(faces, batch_size, seed=seed, augment=augment)
        rate = build_schedule(schedule, lr=lr, epochs=epochs, steps_per_epoch=len(batches))
        history = []
        for epoch in range(epochs):
            model.train()
            errors = []
            for images, ages, _ in batches.epoch(epoch):
                optimizer.lr = rate(optimizer.steps)
                model.zero_grad()
                masks = np.random.default_rng((seed, optimizer.steps))
                loss, predicted = model.loss(images, ages, rng=masks)
                loss.backward()
                optimizer.step()
                errors.append(np.abs(predicted.numpy() - ages).mean())
            model.eval()
            history.append({"epoch": epoch + 1, "train_mae": float(np.mean(errors)),
                            **measure(model, val)})  # fmt: skip
        return model, history


def measure(model: Any, val: FaceSet) -> dict[str, Any]:
    """`val_mae` in years, and the health of the stages."""
    predicted = predict_ages(model, val.images, Preprocessing())
    return {
        "val_mae": metrics.mean_absolute_error(predicted, val.ages),
        "stage_health": health_of(model, val.images, Preprocessing()),
    }


def write_results(name: str, command: str, content: dict[str, Any]) -> Path:
    """Write `results/NAME.json` with when, how and on what it was made."""
    about = {
        "made_by": command,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "minissr": minissr.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"about": about, **content}, indent=1) + "\n")
    print(f"wrote {path}")
    return path


def processor() -> str:
    """The processor's name as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def rounded(value: Any, digits: int = 4) -> Any:
    """Floats inside lists and dicts with `digits` decimals, so that a results file stays small."""
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner, digits) for inner in value]
    return round(value, digits) if isinstance(value, float) else value
