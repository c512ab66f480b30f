"""A Keras file of SSR-Net's authors as a checkpoint of ours.

Such a file holds weights and nothing else. What else has to be known is from the authors' code and
the same for all files they published: the stages' coefficients lambda are 1, V is 101 for age and 1
for gender, and the networks eat raw BGR pixels of a face box with 40 % added on each side.

Deviations
----------
The faces of MegaAge-Asian came cropped, with another margin; its file doesn't say so.

The networks for gender learnt 0 for female and 1 for male on IMDB and WIKI. The authors' script for
MORPH labels the other way round, which can't be seen from its file either.
"""

from __future__ import annotations

import os
from typing import Any

from minissr.data.preprocessing import Preprocessing
from minissr.models.keras_files import read_keras
from minissr.models.registry import build
from minissr.training.checkpoint import Checkpoint
from minissr.training.state import named

PREPROCESSING = Preprocessing(color="bgr", margin=0.4)


def keras_checkpoint(path: str | os.PathLike[str], male: int = 1) -> Checkpoint:
    """Read a Keras file.

    Parameters
    ----------
    path : path
    male : 0 or 1
        Which end of the answers of a network for gender is male.

    Returns
    -------
    Checkpoint
        Its metadata has the usual `model` and `preprocessing`; `converted`, which says what the
        file was; and, for gender, `scale`: what an answer of 0 and of 1 means.

    Raises
    ------
    CheckpointError
        If the file can't be used.
    """
    found = read_keras(path)
    model: Any = build(**found.layout.model)
    metadata: dict[str, Any] = {
        "model": model.config(),
        "preprocessing": PREPROCESSING.to_json(),
        "converted": {
            "kind": found.layout.kind,
            "arrays": len(found.state),
            "left_out": found.left_out,
            "sha256_of_keras_file": found.sha256,
        },
    }
    if found.layout.tells == "gender":
        metadata["scale"] = ["female", "male"] if male == 1 else ["male", "female"]
    return Checkpoint(named("model", found.state), metadata)
