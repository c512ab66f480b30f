"""A moving average of a network over training steps (Polyak & Juditsky 1992).

A step's noise moves the weights about; their average is where they move about, and measures better
than any of them while the learning rate is not small. Batch norm's moving statistics are averaged
with the weights they belong to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np

from minissr.autograd.function import Array
from minissr.errors import CheckpointError
from minissr.nn.module import Module
from minissr.training.optim import Optimizer


class Average:
    """average = d average + (1 - d) network after each step, for weights and buffers alike.

    d is at most (1 + t) / (10 + t) in step t, so that the average soon forgets where the network
    started.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Of all of the model's parameters; they are its `flat`.
    decay : float
        d, 0 to below 1.
    """

    def __init__(self, model: Module, optimizer: Optimizer, decay: float) -> None:
        self.model, self.optimizer, self.decay = model, optimizer, decay
        self.means = [array.copy() for array in self.arrays()]

    def arrays(self) -> list[Array]:
        """What is averaged: all parameters in one array, then each buffer."""
        return [self.optimizer.flat, *(array for _, array in self.model.named_buffers())]

    def update(self) -> None:
        """Follow the network after a step."""
        t = self.optimizer.steps
        share = 1 - min(self.decay, (1 + t) / (10 + t))
        for mean, array in zip(self.means, self.arrays(), strict=True):
            mean += (array - mean) * mean.dtype.type(share)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Inside the `with` block the network is its average."""
        arrays = self.arrays()
        own = [array.copy() for array in arrays]
        self._write(arrays, self.means)
        try:
            yield
        finally:
            self._write(arrays, own)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The average as a network's state: a copy of each array under its dotted name."""
        with self.shown():
            return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up where `state_dict` left off; CheckpointError naming all that doesn't fit."""
        own = [array.copy() for array in self.arrays()]
        try:
            self.model.load_state_dict(state)
        except CheckpointError as error:
            raise CheckpointError(f"the average: {error}") from error
        self.means = [array.copy() for array in self.arrays()]
        self._write(self.arrays(), own)

    @staticmethod
    def _write(arrays: list[Array], values: list[Array]) -> None:
        for array, value in zip(arrays, values, strict=True):
            array[...] = value
