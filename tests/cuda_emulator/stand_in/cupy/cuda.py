"""Devices, streams, events and memory: there, and orderly, but all of it is the CPU.

Streams and events check the order of calls (an event is waited for only after it was recorded,
a capture is ended by the stream that began it); the work itself is done at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from cupy import _recording
from cupy._recording import note


class CUDARuntimeError(RuntimeError):
    """Raised by `cupy.cuda.runtime` functions."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message or f"error {status}")
        self.status = status


class OutOfMemoryError(MemoryError):
    """Raised when the device has no memory left."""


class Stream:
    """A queue of work."""

    null: Stream
    ptr = 0

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self._outer: list[Stream] = []
        self._captured: list[tuple[str, Callable[[], None]]] | None = None

    def __enter__(self) -> Stream:
        self._outer.append(_State.stream)
        _State.stream = self
        return self

    def __exit__(self, *_: Any) -> None:
        _State.stream = self._outer.pop()

    def use(self) -> Stream:
        _State.stream = self
        return self

    def synchronize(self) -> None:
        if self._captured is not None:
            raise RuntimeError("a stream can't be synchronised while it is captured")

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if not event.recorded:
            raise RuntimeError("the stream waits for an event that was never recorded")

    def begin_capture(self, mode: Any = None) -> None:
        if self is Stream.null:
            raise RuntimeError("the null stream can't be captured")
        if self._captured is not None:
            raise RuntimeError("the stream is being captured already")
        self._captured = []

    def end_capture(self) -> Graph:
        if self._captured is None:
            raise RuntimeError("the stream is not being captured")
        graph, self._captured = Graph(self._captured), None
        return graph

    def is_capturing(self) -> bool:
        return self._captured is not None

    def do(self, name: str, work: Callable[[], None]) -> None:
        """A kernel was launched on this stream: run it, or remember it while capturing."""
        if self._captured is None:
            work()
        else:
            self._captured.append((name, work))


class Graph:
    """What was captured, to be done by `launch` as often as one likes."""

    def __init__(self, launches: list[tuple[str, Callable[[], None]]]) -> None:
        self._launches = launches
        self.names = [name for name, _ in launches]

    def upload(self, stream: Stream | None = None) -> None:
        pass

    def launch(self, stream: Stream | None = None) -> None:
        note("graph", "graph of " + ", ".join(self.names))
        for _, work in self._launches:
            work()


class Event:
    """A mark in a queue of work."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self, stream: Stream | None = None) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        if not self.recorded:
            raise RuntimeError("nobody recorded this event")

    @property
    def done(self) -> bool:
        return self.recorded


class _State:
    stream: Stream


def _refuse_while_capturing(kind: str, name: str) -> None:
    if kind not in ("kernel", "graph") and _State.stream.is_capturing():
        raise NotImplementedError(f"the stand-in captures kernels only, and {name} is a {kind}")


_recording.guards.append(_refuse_while_capturing)


Stream.null = Stream()
_State.stream = Stream.null


def get_current_stream() -> Stream:
    return _State.stream


current_stream = get_current_stream


def get_elapsed_time(start: Event, stop: Event) -> float:
    raise RuntimeError("the emulator measures nothing about a GPU")


class Device:
    """The one device there is."""

    id = 0
    compute_capability = "90"
    mem_info = (0, 0)

    def __init__(self, device: int | None = None) -> None:
        pass

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def use(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


def is_available() -> bool:
    return True


@contextlib.contextmanager
def using_allocator(allocator: Callable[[int], Any] | None = None) -> Iterator[None]:
    """Where arrays get their memory; here all of it is the host's."""
    yield


class MemoryPool:
    """A pool that holds nothing back."""

    def malloc(self, size: int) -> Any:
        raise NotImplementedError("the stand-in's arrays have no allocator")

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        pass


def get_default_memory_pool() -> MemoryPool:
    return MemoryPool()


def get_default_pinned_memory_pool() -> MemoryPool:
    return MemoryPool()


def alloc_pinned_memory(size: int) -> Any:
    """Host memory that a device can copy from while it computes: here, host memory."""
    return np.empty(size, np.uint8).data


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(f"cupy.cuda.{name}")
    module.__dict__.update(contents)
    sys.modules[module.__name__] = module
    return module


runtime = _module(
    "runtime",
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: 1,
    driverGetVersion=lambda: 12090,
    runtimeGetVersion=lambda: 12090,
    getDeviceProperties=lambda device: {
        "name": b"emulated (CPU)",
        "major": 9,
        "minor": 0,
        "totalGlobalMem": 0,
        "multiProcessorCount": 1,
    },
)
memory = _module("memory", OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool)
nvrtc = _module("nvrtc", getVersion=lambda: (12, 9))
