"""Stopping when asked: Ctrl-C and SIGTERM save first and leave within two seconds.

The training loop asks `requested` after every batch, which is a fraction of a second. But the
signal may also fall where no such question is asked for longer: while kernels are compiled, while
synthetic faces are drawn, in a very large batch. Python runs a signal handler only between two of
its own instructions, so a second thread waits for the signal itself (through the wakeup pipe) and,
if nothing has happened after `GRACE` seconds, ends the process. That is safe at any moment:
a checkpoint is on the disk whole or not at all, and resuming repeats the lost steps bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from minissr.errors import Interrupted

GRACE = 1.3  # seconds for the loop to notice and save
SAVING = 10.0  # seconds more if it is in the middle of writing
WATCHED = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked the run to end; use it as a context manager around the run.

    Parameters
    ----------
    farewell : str
        The sentence to end with: that it was saved, and how to go on.
    """

    def __init__(self, farewell: str) -> None:
        self.requested = False
        self._farewell = farewell
        self._before: dict[int, Any] = {}
        self._left = threading.Event()  # the run is over: the watchdog has nothing to do
        self._idle = threading.Event()  # no file is being written
        self._idle.set()

    def __enter__(self) -> StopRequest:
        # Signals reach the main thread only; elsewhere (a notebook's worker) there is no handling.
        if threading.current_thread() is threading.main_thread():
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            self._before = {number: signal.signal(number, self._note) for number in WATCHED}
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup)
            os.close(self._pipe[1])  # the watchdog reads the end and leaves

    def check(self) -> None:
        """Raise Interrupted if the run was asked to end."""
        if self.requested:
            raise Interrupted(self._farewell)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Around writing a file, which is given longer than anything else."""
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def _watch(self) -> None:
        reader = self._pipe[0]
        while (byte := os.read(reader, 1)) and byte[0] not in WATCHED:
            pass
        if byte and not self._left.wait(GRACE):
            self._idle.wait(SAVING)
            if not self._left.is_set():
                with contextlib.suppress(OSError):
                    os.write(2, f"\nminissr: {self._farewell}\n".encode())
                os._exit(Interrupted.exit_code)
        os.close(reader)
