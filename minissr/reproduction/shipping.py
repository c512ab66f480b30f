"""From a finished run to files that others can use: float32 weights, int8 weights, a model card.

The files hold nothing that two equal runs don't share: equal runs give equal files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minissr.data.faces import Dataset
from minissr.data.opening import SYNTHETIC, open_dataset
from minissr.data.prepared import read_meta
from minissr.errors import CheckpointError
from minissr.models.registry import build
from minissr.training.checkpoint import pack, read_checkpoint
from minissr.training.evaluation import evaluate
from minissr.training.files import write_atomically, write_text
from minissr.training.network import load_network
from minissr.training.small import small_file
from minissr.training.state import MODEL

SMALL = "int8"


@dataclass(frozen=True)
class Terms:
    """What must be said wherever the weights go.

    Attributes
    ----------
    name : str
        Of the weights.
    data : str
        Which faces, and by whose leave; Markdown.
    licence : str
        Of the weights, kept inside the files.
    values : dict
        What the codes in the labels mean: label -> code -> words.
    """

    name: str
    data: str
    licence: str
    values: dict[str, dict[str, str]]


UTKFACE = Terms(
    name="ssrnet-utkface",
    data="[UTKFace](https://susanqq.github.io/UTKFace/): faces from the web, aligned and cropped. "
    "It is made available for non-commercial research; the copyright of each picture stays with "
    "its owner. Ages were estimated by an algorithm and checked by a person: they are noisy.",
    licence="trained on UTKFace: for non-commercial research only; the copyright of each picture "
    "stays with its owner; not for decisions about people",
    values={
        "gender": {"0": "male", "1": "female"},
        "race": {"0": "White", "1": "Black", "2": "Asian", "3": "Indian", "4": "others"},
    },
)
DRAWN = Terms(
    name="ssrnet-synthetic",
    data="Faces drawn by minissr; nobody's picture.",
    licence="trained on drawn faces; of no use on photographs",
    values={},
)


def terms_of(spec: str) -> Terms:
    """The terms of a data set, by its kind."""
    if spec == SYNTHETIC:
        return DRAWN
    kind = read_meta(Path(spec))["source"].get("kind", "faces")
    if kind == "utkface":
        return UTKFACE
    return Terms(
        name=f"ssrnet-{kind}",
        data=f"Faces prepared from {kind}; whoever passes the weights on has to name their terms.",
        licence="the terms of the faces it was trained on",
        values={},
    )


@dataclass
class Shipment:
    """What was written, and what a card tells about it.

    Attributes
    ----------
    terms : Terms
    weights, small : Path
        float32 and int8.
    sizes : dict of str to int
        Bytes, by the file's name.
    digests : dict of str to str
        SHA-256, likewise.
    about : dict
        The metadata of the run's best checkpoint.
    history : list of dict
        The lines of the run's metrics.
    data : Dataset
    split : str
        What the figures are of.
    figures, flipped, of_small : dict
        As `evaluate` gives them: of the weights, with mirror images too, of the int8 file.
    """

    terms: Terms
    weights: Path
    small: Path
    sizes: dict[str, int]
    digests: dict[str, str]
    about: dict[str, Any]
    history: list[dict[str, Any]]
    data: Dataset
    split: str
    figures: dict[str, Any]
    flipped: dict[str, Any]
    of_small: dict[str, Any]


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
    from minissr.reproduction.card import card

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
