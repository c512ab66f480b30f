"""Batches: a data set in a new order every epoch, augmented, made ready while the network trains.

The order depends on (seed, epoch), what happens to a face on (seed, epoch, its index). So an
epoch that is entered at batch k yields exactly what the whole epoch yields from batch k on, which
is how a resumed training goes on bit for bit.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import numpy as np

from minissr.data.augment import Augment, parse_augment
from minissr.data.faces import FaceSet
from minissr.errors import DataError

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
T = TypeVar("T")
AHEAD = 4  # batches waiting, at most
_ORDER = 0x6F72646572  # keeps the order's random stream apart from others seeded (seed, number)


class Batches:
    """Cuts a FaceSet into batches.

    Parameters
    ----------
    faces : FaceSet of N faces.
    batch_size : faces in a batch; the last one may have fewer.
    seed : of order and augmentation, 0 to 2^64 - 1.
    augment : an Augment, what `parse_augment` takes, or None.
    shuffle : a new order every epoch; without, the order of the data set.
    drop_last_if_single : leave out a last batch of one face (of batches meant to be larger): batch
        normalisation can't train on it. Another face is left out next epoch.
    """

    def __init__(
        self,
        faces: FaceSet,
        batch_size: int,
        *,
        seed: int,
        augment: str | Augment | None = None,
        shuffle: bool = True,
        drop_last_if_single: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}; expected 1 or more")
        if not 0 <= seed < 1 << 64:
            raise ValueError(f"seed {seed}; expected 0 to 2^64 - 1")
        if not len(faces):
            raise DataError("there are no faces to make batches of; prepare the data again")
        self.faces = faces
        self.batch_size = batch_size
        self.seed = seed
        self.augment = (
            parse_augment(augment or "none") if not isinstance(augment, Augment) else augment
        )
        self.shuffle = shuffle
        n = len(faces)
        if drop_last_if_single and batch_size > 1 and n % batch_size == 1:
            n -= 1
        if not n:
            raise DataError(
                "there is one face in all, and a batch of one can't train batch normalisation; "
                "add faces"
            )
        self.count = n  # faces in an epoch

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.count // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """The faces of an epoch in their order: ndarray (count,), int64."""
        n = len(self.faces)
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng((self.seed, epoch, _ORDER)).permutation(n)[: self.count]

    def epoch(self, epoch: int, start_batch: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from `start_batch` on, prepared ahead in a thread.

        Yields
        ------
        images : ndarray (B, S, S, 3), uint8, C-contiguous.
        ages : ndarray (B,), float32, years.
        index : ndarray (B,), int64: which rows of the FaceSet these are.
        """
        if epoch < 0:
            raise ValueError(f"epoch {epoch}; expected 0 or more")
        if not 0 <= start_batch <= len(self):
            raise ValueError(f"start batch {start_batch}; expected 0 to {len(self)}")
        return prefetch(lambda: self._make(epoch, start_batch), AHEAD)

    def _make(self, epoch: int, start_batch: int) -> Iterator[Batch]:
        order = self.order(epoch)
        for start in range(start_batch * self.batch_size, self.count, self.batch_size):
            index = order[start : start + self.batch_size]
            images = np.ascontiguousarray(self.faces.images[index])
            images = self.augment(images, self.seed, epoch, index)
            yield np.asarray(images), self.faces.ages[index], index


def prefetch(make: Callable[[], Iterator[T]], ahead: int) -> Generator[T, None, None]:
    """Yield what `make()` yields, made in a thread that is at most `ahead` items in front.

    An exception of the thread is raised here. The thread ends when the items do, or when this
    generator is closed or forgotten (leaving a `for` early forgets it). It starts with the first
    item asked for, and sees the context (the chosen backend) of whoever asks.
    """
    items: queue.Queue[Any] = queue.Queue(ahead)
    stop = threading.Event()
    end = object()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in make():
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:  # whatever it is, it belongs to the consumer
            put((end, error))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="loader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = items.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        while not items.empty():
            items.get_nowait()
        thread.join()
