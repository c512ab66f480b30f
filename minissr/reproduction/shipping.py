"""From a finished run to files that others can use: float32 weights, int8 weights, a model card.

The files hold nothing that two equal runs don't share: equal runs give equal files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from minissr.data.faces import Dataset
from minissr.data.opening import open_dataset
from minissr.errors import CheckpointError
from minissr.models.registry import build
from minissr.reproduction.card import card
from minissr.reproduction.shipment import Shipment, terms_of
from minissr.training.checkpoint import pack, read_checkpoint
from minissr.training.evaluation import evaluate
from minissr.training.files import write_atomically, write_text
from minissr.training.network import load_network
from minissr.training.small import small_file
from minissr.training.state import MODEL

SMALL = "int8"


def ship(run: Path, spec: str, out: Path) -> list[Path]:
    """Write weights and card of a finished run into `out`; returns their paths.

    Parameters
    ----------
    run : Path
        A run directory.
    spec : str
        The faces it was trained on: "synthetic" or a prepared folder.
    out : Path

    Raises
    ------
    CheckpointError
        If the run isn't finished, or was trained on other faces.
    """
    terms = terms_of(spec)
    best = read_checkpoint(run / "best.safetensors")
    if not (run / "report.md").exists():
        raise CheckpointError(
            f"{run} isn't finished; go on: python -m minissr.train --resume {run}"
        )
    recipe = best.metadata["training"]
    settings = {k: recipe[k] for k in ("train_images", "val_images", "test_images") if k in recipe}
    data = open_dataset(spec, seed=recipe["seed"], settings=settings)
    if best.metadata["data"]["digest"] != data.digest:
        raise CheckpointError(f"{run} was trained on other faces than {spec}; name its --data")
    out.mkdir(parents=True, exist_ok=True)
    about = {k: v for k, v in best.metadata.items() if k not in ("sha256", "format")}
    about["licence"] = terms.licence
    network: Any = build(**about["model"])
    about["model"] = network.config()  # with settings that are newer than the run
    weights = out / f"{terms.name}.safetensors"
    small = out / f"{terms.name}-{SMALL}.safetensors"
    write_atomically(weights, pack(best.tensors, about))
    write_atomically(small, small_file(best.section(MODEL), about, SMALL))
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    figures, split = figures_of(weights, data)
    shipment = Shipment(
        terms,
        weights,
        small,
        {path.name: path.stat().st_size for path in (weights, small)},
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (weights, small)},
        about,
        history,
        data,
        split,
        figures,
        figures_of(weights, data, flip=True)[0],
        figures_of(small, data)[0],
    )
    path = out / f"{terms.name}.md"
    write_text(path, "\n".join(card(shipment)) + "\n")
    return [weights, small, path]


def figures_of(path: Path, data: Dataset, *, flip: bool = False) -> tuple[dict[str, Any], str]:
    """What `evaluate` finds of a file, and on which split."""
    network = load_network(path)
    result = evaluate(network.model, network.preprocessing, data, flip=flip)
    return result.figures, result.split
