"""From the name of a checkpoint to a network ready to use."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minissr.data.preprocessing import Preprocessing
from minissr.errors import CheckpointError, MinissrError
from minissr.models.registry import build
from minissr.nn.module import Module
from minissr.training.checkpoint import read_checkpoint
from minissr.training.from_keras import keras_checkpoint
from minissr.training.small import expanded
from minissr.training.state import load_weights

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
DEFAULT = "ssrnet-utkface"  # what is used where no network is named
KERAS = (".h5", ".hdf5", ".keras")


@dataclass
class Network:
    """A trained network and what has to be known about it.

    Attributes
    ----------
    model : Module
        In evaluation mode.
    preprocessing : Preprocessing
        How it wants its faces.
    about : dict
        The checkpoint's metadata.
    path : Path
        The file it was read from.
    sha256 : str
        Of that file, as `sha256sum` prints it.
    """

    model: Module
    preprocessing: Preprocessing
    about: dict[str, Any]
    path: Path
    sha256: str

    @property
    def scale(self) -> tuple[str, str] | None:
        """What answers of 0 and of 1 mean, for a network that tells gender; None for age."""
        if "scale" not in self.about:
            return None
        zero, one = self.about["scale"]
        return zero, one

    def check_tells_age(self) -> None:
        """Refuse a network for gender where ages are wanted."""
        if self.scale is not None:
            raise MinissrError(
                f"{self.path} tells gender, from 0 ({self.scale[0]}) to 1 ({self.scale[1]}), "
                "and not age; use it with predict"
            )


def load_network(source: str | os.PathLike[str]) -> Network:
    """Read a network.

    Parameters
    ----------
    source : path or str
        A `.safetensors` file, a run directory (its best network, or else its last), the name of a
        file in `minissr/weights`, or a Keras file of SSR-Net's authors.

    Raises
    ------
    CheckpointError
        If there is no such thing, or it is damaged.
    """
    path = find_checkpoint(source)
    keras = path.suffix.lower() in KERAS
    checkpoint = keras_checkpoint(path) if keras else expanded(read_checkpoint(path))
    try:
        model = build(**checkpoint.metadata["model"])
        preprocessing = Preprocessing.from_json(checkpoint.metadata["preprocessing"])
    except (KeyError, TypeError, ValueError, MinissrError) as error:
        raise CheckpointError(
            f"{path} describes a network that this version can't build ({error}); "
            "load it with the version that wrote it"
        ) from error
    load_weights(path, checkpoint, model)
    model.eval()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Network(model, preprocessing, checkpoint.metadata, path, digest)


def find_checkpoint(source: str | os.PathLike[str]) -> Path:
    """The file that `source` means; CheckpointError with the choices if there is none."""
    path = Path(source)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).exists():
                return path / name
        raise CheckpointError(
            f"{path} is a folder without best.safetensors or last.safetensors; "
            "name a run directory or a checkpoint file"
        )
    if path.exists():
        return path
    names = shipped()
    if str(source) in names:
        return WEIGHTS / f"{source}.safetensors"
    close = difflib.get_close_matches(str(source), names, n=1)
    hint = f"did you mean {close[0]}? Or {_where(names)}" if close else _where(names)
    raise CheckpointError(f"{source}: no such checkpoint; {hint}")


def shipped() -> list[str]:
    """The names of the networks that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def _where(names: list[str]) -> str:
    ours = f", or one of {', '.join(names)}" if names else ""
    return f"name a .safetensors file or a run directory{ours}"
