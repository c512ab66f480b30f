"""What a shipped network is made of: whose faces and by whose leave, its files, its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minissr.data.faces import Dataset
from minissr.data.opening import SYNTHETIC
from minissr.data.prepared import read_meta


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
