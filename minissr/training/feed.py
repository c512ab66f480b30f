"""Batches on their way to the network: each is copied to a GPU while the one before it is computed.

On a CPU there is nothing to do. For a GPU two slots of device memory take turns: while the network
works on one, the next batch goes from page-locked host memory into the other, on a stream of its
own. Two events a slot keep the order: the network waits until its batch has arrived, and a slot is
filled again only when the work that was queued on it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minissr.autograd.function import Array
from minissr.kernels import cuda

Batch = tuple[np.ndarray, np.ndarray]  # images (B, S, S, 3) as the network wants them; ages (B,)
Fed = tuple[Array, Array, np.ndarray]


def feed(batches: Iterable[Batch], backend: str) -> Iterator[Fed]:
    """Yield images and ages where `backend` computes, and the ages in the host's memory.

    An array on a device is good until the batch after the next is asked for.
    """
    if backend != "cupy":
        for images, ages in batches:
            yield images, ages, ages
        return
    stream = cuda.xp().cuda.Stream(non_blocking=True)
    slots = [Slot(stream), Slot(stream)]
    waiting: tuple[Slot, np.ndarray] | None = None
    for number, (images, ages) in enumerate(batches):
        slot = slots[number % 2]
        slot.send(images, ages)
        if waiting is not None:
            yield waiting[0].receive(waiting[1])
            waiting[0].release()
        waiting = (slot, ages)
    if waiting is not None:
        yield waiting[0].receive(waiting[1])


class Slot:
    """Memory for one batch, on both sides, that grows when a larger one comes.

    Parameters
    ----------
    stream : cupy.cuda.Stream
        What copies.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.sides: dict[str, tuple[np.ndarray, Array]] = {}  # by what it holds
        self.arrived: Any = None
        self.released: Any = None
        self.views: tuple[Array, Array]

    def send(self, images: np.ndarray, ages: np.ndarray) -> None:
        """Start copying a batch."""
        if self.arrived is not None:
            self.arrived.synchronize()  # the last batch has left the page-locked memory
        if self.released is not None:
            self.stream.wait_event(self.released)
        with self.stream:
            self.views = self.copied("images", images), self.copied("ages", ages)
        self.arrived = self.stream.record()

    def copied(self, what: str, values: np.ndarray) -> Array:
        """`values` on the device, once the stream has got there."""
        host, there = self.room(what, values)
        np.copyto(host, values)
        there.set(host, stream=self.stream)
        return there

    def room(self, what: str, values: np.ndarray) -> tuple[np.ndarray, Array]:
        """Page-locked and device memory of the shape and dtype of `values`."""
        kept = self.sides.get(what)
        if kept is None or kept[0].dtype != values.dtype or kept[0].shape[1:] != values.shape[1:]:
            kept = None
        if kept is None or len(kept[0]) < len(values):
            memory = cuda.xp().cuda.alloc_pinned_memory(values.nbytes)
            host = np.frombuffer(memory, values.dtype, values.size).reshape(values.shape)
            kept = self.sides[what] = host, cuda.xp().empty(values.shape, values.dtype)
        return kept[0][: len(values)], kept[1][: len(values)]

    def receive(self, ages: np.ndarray) -> Fed:
        """The batch, for the stream that computes: it waits until the copy is there."""
        cuda.xp().cuda.get_current_stream().wait_event(self.arrived)
        return (*self.views, ages)

    def release(self) -> None:
        """Whatever reads this batch has been queued; behind it the slot may be filled again."""
        self.released = cuda.xp().cuda.get_current_stream().record()
