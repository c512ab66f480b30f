"""Faces that are drawn, not collected: a data set that needs no download and no disk.

`minissr.data.people` draws who the faces are: ages, cues of age, chance. `minissr.data.render`
paints them. Here they become training, validation and test sets.

**Streams.** Faces are drawn in blocks, each from a Philox generator whose key is (seed, stream) and
whose counter starts at the block's number. Training faces have stream 1, validation faces 2 and
test faces 3, and different keys are different sequences: no seed of a training run can produce the
test faces. Validation and test faces are the same whatever the seed, so that runs can be compared.

A face depends on its stream, seed and place alone, not on how many are drawn: the first 100 of 1000
are the 100. (To the bit on one machine and one NumPy; elsewhere a sine may round differently.)
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np

from minissr.data.canvas import SIZE
from minissr.data.people import draw_ages, draw_chance, draw_cues, posterior_median
from minissr.data.render import render
from minissr.errors import DataError

Array = np.ndarray

SETTINGS = {"train_images": 5000, "val_images": 1000, "test_images": 2000}
LARGEST = 1_000_000  # images in a split: 12 GB
STREAMS = {"train": 1, "val": 2, "test": 3}
BOUND_STREAM = 0  # people who are never painted, for `best_possible_mae`
BLOCK = 25  # faces drawn together, few enough for the cache; changing it changes all faces


def draw_faces(
    n: int, *, stream: str, seed: int = 0, progress: Callable[[int], object] | None = None
) -> tuple[Array, Array, dict[str, Array]]:
    """Draw n faces.

    Parameters
    ----------
    n : how many, at least 1
    stream : "train", "val" or "test"
    seed : 0 to 2^64 - 1; only the training stream heeds it, val and test are fixed
    progress : called after each block with the number of faces it added, like tqdm's `update`

    Returns
    -------
    images : ndarray (n, 64, 64, 3), uint8, RGB
    ages : ndarray (n,), float32, whole years from 0 to 100
    latents : dict of ndarray (n,), colours (n, 3): what each face was painted from, cues first

    Raises
    ------
    ValueError
        If n is below 1, the stream unknown, or the seed out of range.

    Examples
    --------
    >>> images, ages, latents = draw_faces(3, stream="test")
    >>> images.shape, images.dtype.name, sorted(latents)[:3]
    ((3, 64, 64, 3), 'uint8', ['background_angle', 'background_first', 'background_phase'])
    """
    n, seed = operator.index(n), operator.index(seed)
    if n < 1:
        raise ValueError(f"{n} faces; expected at least 1")
    if stream not in STREAMS:
        raise ValueError(f"stream {stream!r}; expected one of {', '.join(STREAMS)}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed {seed}; expected a whole number from 0 to 2^64 - 1")
    key_seed = seed if stream == "train" else 0

    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    ages = np.empty(n, np.float32)
    blocks = []
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        rng = _generator(STREAMS[stream], key_seed, start // BLOCK)
        block_ages = draw_ages(rng, BLOCK)
        latents = draw_cues(rng, block_ages) | draw_chance(rng, BLOCK)
        # A last block that isn't needed whole is drawn whole, so that its faces don't change.
        images[start:stop] = render(latents, rng)[: stop - start]
        ages[start:stop] = block_ages[: stop - start]
        blocks.append(latents)
        if progress is not None:
            progress(stop - start)
    return images, ages, {name: np.concatenate([b[name] for b in blocks])[:n] for name in blocks[0]}


@lru_cache
def best_possible_mae(draws: int = 100_000) -> float:
    """Mean absolute error, in years, that no network can beat in the long run.

    It is that of the posterior median given the exact cues, over `draws` people; see
    `minissr.data.people`. With 100,000 draws its own standard error is under 0.01 years.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws; expected at least 1")
    rng = _generator(BOUND_STREAM, 0, 0)
    ages = draw_ages(rng, draws)
    return float(np.abs(posterior_median(draw_cues(rng, ages)) - ages).mean())


def open_synthetic(
    *,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Draw a whole data set.

    Parameters
    ----------
    seed : of the training faces, 0 to 2^64 - 1
    settings : any of `train_images`, `val_images`, `test_images`; the rest as in `SETTINGS`
    progress : called with the number of faces just drawn, like tqdm's `update`

    Returns
    -------
    dict with
        splits : {"train" | "val" | "test": (images, ages, labels)}, images and ages as `draw_faces`
            returns them, labels its latents (n,), without the colours
        best_possible_mae : float, years
        digest : str, SHA-256 of all images and ages

    Raises
    ------
    DataError
        If a setting is unknown, or not a whole number from 1 to 1,000,000.
    """
    sizes = check_settings(settings)
    splits = {}
    digest = hashlib.sha256()
    for stream in STREAMS:
        images, ages, latents = draw_faces(
            sizes[f"{stream}_images"], stream=stream, seed=seed, progress=progress
        )
        digest.update(images.data)
        digest.update(ages.data)
        labels = {name: value for name, value in latents.items() if value.ndim == 1}
        splits[stream] = (images, ages, labels)
    return {
        "splits": splits,
        "best_possible_mae": best_possible_mae(),
        "digest": digest.hexdigest(),
    }


def check_settings(settings: Mapping[str, Any] | None) -> dict[str, int]:
    """`SETTINGS` with those given in place of the defaults; DataError if one can't be used."""
    given = dict(settings or {})
    for name, value in given.items():
        if name not in SETTINGS:
            raise DataError(
                f"the synthetic faces have no setting {name!r}; they have {', '.join(SETTINGS)}"
            )
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not 1 <= value <= LARGEST:
            raise DataError(f"{name} is {value!r}; expected a whole number from 1 to {LARGEST}")
    return {name: int(given.get(name, default)) for name, default in SETTINGS.items()}


def _generator(stream: int, seed: int, block: int) -> np.random.Generator:
    """The generator of one block. Blocks are 2^192 numbers apart, so none runs into the next."""
    key = np.array([seed, stream], np.uint64)
    counter = np.array([0, 0, 0, block], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
