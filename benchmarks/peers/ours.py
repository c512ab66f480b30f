"""minissr itself, as `train` and `predict` use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import RATE, Workload
from minissr.kernels.backend import use_backend
from minissr.models.inference import InferenceEngine
from minissr.models.registry import build
from minissr.training.optim import Adam


class Ours:
    """See `peers`. It reads the uint8 faces as they are."""

    def __init__(self, workload: Workload, backend: str) -> None:
        self.workload, self.backend = workload, backend

    def model(self, **changes: Any) -> Any:
        """The network with the workload's weights."""
        model = build(**{**self.workload.config, **changes})
        model.load_state_dict(self.workload.state)
        return model

    def training(self, batch: int) -> Callable[[], Any]:
        model = self.model().train()
        optimizer = Adam(model.parameters(), RATE)
        images, ages = self.workload.images(batch), self.workload.ages(batch)

        def step() -> float:
            with use_backend(self.backend):
                masks = np.random.default_rng((0, optimizer.steps))
                optimizer.zero_grad()
                loss, _ = model.loss(images, ages, rng=masks)
                loss.backward()
                optimizer.step()
                return loss.item()

        return step

    def loss_and_gradients(self, batch: int) -> tuple[float, dict[str, np.ndarray]]:
        model = self.model(dropout=0.0).train()
        with use_backend(self.backend):
            loss, _ = model.loss(self.workload.images(batch), self.workload.ages(batch))
            loss.backward()
        return loss.item(), {name: p.grad for name, p in model.named_parameters()}

    def inference(self, batch: int) -> Callable[[], Any]:
        images = self.workload.images(batch)
        if self.backend != "numpy":
            engine = InferenceEngine(self.model().eval())
            return lambda: engine(images)
        from minissr.autograd.function import no_grad

        model = self.model().eval()

        def answer() -> np.ndarray:
            with use_backend("numpy"), no_grad():
                return model(images).numpy()

        return answer

    def stored_bytes(self, batch: int) -> int:
        """Bytes that a training step's forward leaves for its backward: every array reachable
        from the loss, but not the parameters and the faces."""
        from minissr.autograd.graph import nodes_behind

        model = self.model().train()
        images = self.workload.images(batch)
        with use_backend(self.backend):
            loss, _ = model.loss(images, self.workload.ages(batch), rng=np.random.default_rng(0))
        outside = {address(images)} | {address(p.data) for p in model.parameters()}
        found: dict[int, int] = {}
        for node in nodes_behind(loss.creator):
            inputs = [None if tensor is None else tensor.data for tensor in node.inputs]
            collect([node.context.saved, node.context.extra, inputs], found, set())
        return sum(size for place, size in found.items() if place not in outside)


def collect(value: Any, found: dict[int, int], seen: set[int]) -> None:
    """The buffers of all arrays inside nested values: address -> bytes."""
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        found[address(value)] = value.nbytes
    elif id(value) not in seen:
        seen.add(id(value))
        parts = value.values() if isinstance(value, dict) else value
        if hasattr(value, "__dict__"):
            parts = vars(value).values()
        elif hasattr(value, "__slots__"):
            parts = [getattr(value, name) for name in value.__slots__]
        if isinstance(parts, (str, bytes)) or not hasattr(parts, "__iter__"):
            return
        for part in parts:
            collect(part, found, seen)


def address(array: np.ndarray) -> int:
    """Where an array's buffer starts."""
    return array.__array_interface__["data"][0]


def open(workload: Workload, flavour: str, threads: int) -> Ours:
    if flavour == "numba":
        from minissr.kernels.threads import set_threads

        set_threads(threads)
    return Ours(workload, flavour)
