"""Running a network over many faces: ages in batches, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minissr.autograd.function import no_grad
from minissr.data.preprocessing import Preprocessing
from minissr.models.inference import InferenceEngine, fits
from minissr.nn.module import Module
from minissr.training.health import stage_health

HEALTH_FACES = 500  # as many as are looked at to judge the stages
BATCH = 128  # enough to keep all cores busy, few enough to stay in a cache


def network_input(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Faces as a network wants them; it takes them to where its weights are by itself.

    Parameters
    ----------
    images : ndarray (N, S, S, 3), uint8, RGB.
    preprocessing : Preprocessing

    Returns
    -------
    ndarray of the same shape: uint8 if the network eats raw pixels, else float32.
    """
    pixels = preprocessing.arrange(images)
    if (preprocessing.scale, preprocessing.offset) == (1, 0):
        return pixels
    return pixels * np.float32(preprocessing.scale) + np.float32(preprocessing.offset)


def predict_ages(
    model: Module,
    images: np.ndarray,
    preprocessing: Preprocessing,
    check: Callable[[], None] = lambda: None,
    *,
    flip: bool = False,
) -> np.ndarray:
    """What the network says, without noise and without learning.

    By the inference engine where that computes the network, else by its layers in evaluation mode.

    Parameters
    ----------
    model : Module
        Left in the mode it was in.
    images : ndarray or memory map (N, S, S, 3), uint8, RGB.
    preprocessing : Preprocessing
    check : callable
        Called before each batch; may raise to stop.
    flip : bool
        Show the network each face and its mirror image, and take the mean of the two ages.

    Returns
    -------
    ndarray (N,), float32, years, not clamped.
    """
    if flip:
        views = (images, images[:, :, ::-1])
        both = [predict_ages(model, view, preprocessing, check) for view in views]
        return (both[0] + both[1]) / np.float32(2)
    engine = InferenceEngine(model, preprocessing) if fits(model, preprocessing) else None
    was_training = model.training
    model.eval()
    parts = [np.empty(0, np.float32)]
    try:
        with no_grad():
            for start in range(0, len(images), BATCH):
                check()
                faces = images[start : start + BATCH]
                if engine is None:
                    ages = model(network_input(faces, preprocessing)).numpy().astype(np.float32)
                else:
                    ages = engine(faces)
                parts.append(ages)
    finally:
        model.train(was_training)
    return np.concatenate(parts)


def health_of(model: Any, images: np.ndarray, preprocessing: Preprocessing) -> list[dict[str, Any]]:
    """The health of every stage over some of the faces, as plain values.

    Faces are taken evenly from all of them, because they may be sorted. Empty for a network
    without stages, and for a single face, which can't be compared with anything.
    """
    if len(images) < 2:
        return []
    step = -(-len(images) // HEALTH_FACES)
    sample = network_input(np.asarray(images[::step]), preprocessing)
    return [stage.to_json() for stage in stage_health(model, sample)]
