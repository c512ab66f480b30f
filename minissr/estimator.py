"""A trained network in three lines of Python: load it, ask for ages, ask why."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np

from minissr.kernels.backend import use_backend
from minissr.models.inference import InferenceEngine
from minissr.training.measure import health_of, network_input, predict_ages
from minissr.training.network import Network, load_network

COLOURS = ("rgb", "bgr")


def load(source: str | os.PathLike[str], *, backend: str = "auto", flip: bool = False) -> Estimator:
    """A trained network, ready for faces.

    Parameters
    ----------
    source : path or str
        A `.safetensors` file, a run directory (its best network, or else its last), or the name
        of a network that comes with minissr.
    backend : "auto" | "numpy" | "numba" | "cupy"
    flip : bool
        Take the mean of the ages of each face and its mirror image: twice the time, a little less
        error.

    Raises
    ------
    CheckpointError
        If there is no such network, or its file is damaged.

    Examples
    --------
    >>> est = minissr.load("runs/utkface")               # doctest: +SKIP
    >>> est.predict(faces)                               # doctest: +SKIP
    array([31.6, 8.2], dtype=float32)
    """
    network = load_network(source)
    network.model.to(backend)
    return Estimator(network, backend, flip=flip)


class Estimator:
    """Ages from cropped faces.

    Attributes
    ----------
    network : Network
        The model, its preprocessing, its file and what the file says about it.
    flip : bool
        Whether `predict` also looks at mirror images; `explain` and `health` never do.
    """

    def __init__(self, network: Network, backend: str = "auto", *, flip: bool = False) -> None:
        self.network = network
        self.flip = flip
        self._backend = backend

    def __repr__(self) -> str:
        return f"Estimator({str(self.network.path)!r})"

    def predict(self, faces: Any, colour: str = "rgb") -> np.ndarray:
        """Ages in years, not clamped; from a network for gender numbers from about 0 to 1.

        Parameters
        ----------
        faces : ndarray (N, S, S, 3), uint8
            Faces cropped as the network's preprocessing says; S is 64 unless that says otherwise.
        colour : "rgb" | "bgr"
            The order of channels of `faces`; OpenCV reads BGR.

        Returns
        -------
        ndarray (N,), float32

        Raises
        ------
        ValueError
            If the faces are of another shape or type.
        """
        images = self._rgb(faces, colour)
        with use_backend(self._backend) as backend:
            if backend == "numba" and self._engine.fused:
                ages = self._engine(images)
                if not self.flip:
                    return ages
                return (ages + self._engine(images[:, :, ::-1])) / np.float32(2)
            network = self.network
            return predict_ages(network.model, images, network.preprocessing, flip=self.flip)

    @cached_property
    def _engine(self) -> InferenceEngine:
        return InferenceEngine(self.network.model, self.network.preprocessing)

    def explain(self, face: Any, colour: str = "rgb") -> dict[str, Any]:
        """How the stages make up the age of one face.

        Parameters
        ----------
        face : ndarray (S, S, 3) or (1, S, S, 3), uint8
        colour : "rgb" | "bgr"

        Returns
        -------
        dict
            `age` in years, and `stages`, coarse to fine, each with `p` and `eta` (bins,); `delta`;
            `width` of a bin, years; `index`, the expected bin; `contribution`, years; and `edges`
            (bins, 2), where each shifted bin starts and ends, years.
        """
        face = np.asarray(face)
        images = self._rgb(face[None] if face.ndim == 3 else face, colour)
        if len(images) != 1:
            raise ValueError(f"{len(images)} faces to explain; give one at a time")
        self._check_stages()
        model: Any = self.network.model
        with use_backend(self._backend):
            told = model.explain(network_input(images, self.network.preprocessing))
        stages = [
            {name: value[0] for name, value in stage.items() if name != "hidden"}
            for stage in told["stages"]
        ]
        return {"age": float(told["age"][0]), "stages": stages}

    def health(self, faces: Any, colour: str = "rgb") -> list[dict[str, Any]]:
        """Whether the stages still look at the face; see `minissr.training.health`.

        Parameters
        ----------
        faces : ndarray (N, S, S, 3), uint8, at least two
        colour : "rgb" | "bgr"

        Returns
        -------
        list of dict
            For each stage `stage, own_std, mean_width` (years), `p_std, eta_std, delta_std,
            dead_share, alive`. At most 500 faces, evenly taken, are looked at.
        """
        images = self._rgb(faces, colour)
        self._check_stages()
        if len(images) < 2:
            raise ValueError(f"{len(images)} faces; health compares faces, so give at least 2")
        with use_backend(self._backend):
            return health_of(self.network.model, images, self.network.preprocessing)

    @property
    def age_range(self) -> tuple[float, float]:
        """The ages, in years, that an answer is clamped to where it is shown to a person."""
        model: Any = self.network.model
        settings = model.config()
        return settings.get("min_age", 0.0), settings.get("max_age", 130.0)

    def _check_stages(self) -> None:
        if not hasattr(self.network.model, "explain"):
            name = type(self.network.model).__name__
            raise ValueError(f"{name} has no stages, so there is nothing to tell about them")

    def _rgb(self, faces: Any, colour: str) -> np.ndarray:
        """The faces, checked, as RGB."""
        if colour not in COLOURS:
            raise ValueError(f"colour {colour!r} is none of {', '.join(COLOURS)}")
        faces = np.asarray(faces)
        size = self.network.preprocessing.size
        if faces.ndim != 4 or faces.shape[1:] != (size, size, 3):
            one = "; for a single face give face[None]" if faces.ndim == 3 else ""
            raise ValueError(f"faces of shape {faces.shape}; expected (N, {size}, {size}, 3){one}")
        if faces.dtype != np.uint8:
            raise ValueError(f"faces of {faces.dtype}; expected uint8, pixels from 0 to 255")
        return faces[..., ::-1] if colour == "bgr" else faces
