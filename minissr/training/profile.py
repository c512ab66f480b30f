"""Where a training step's time goes: `train --profile`.

Some steps are watched op by op, forward and backward, after a few that are left to warm up. What
is told of an op are its milliseconds a step, its GFLOP/s and its GB/s:

- Floating point operations are those of convolutions and dense layers, a multiply-add counted as
  two; backward they are done once for each gradient that somebody wants. Other ops do few and have
  none in the table. What a kernel computes twice, to store less, counts once.
- Bytes are those of an op's inputs and outputs, and backward of all gradients beside them: what it
  can't avoid to touch, not what it touches.

The steps also become a trace in the format of Chrome's trace viewer; chrome://tracing and
https://ui.perfetto.dev open it.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minissr.autograd.function import observe, record
from minissr.training.files import write_text

WARM_UP = 5  # steps before the first that is watched: kernels compile, memory is gathered
WATCHED = 30  # steps
ROWS = 14  # of the table; the rest is one line


@dataclass
class Call:
    """One op in one step; times are seconds of `time.perf_counter()`."""

    op: str
    shape: str
    flops: float
    bytes: int
    forward: tuple[float, float]
    backward: tuple[float, float] | None = None
    backward_flops: float = 0.0
    backward_bytes: int = 0


@dataclass
class Step:
    """One watched step."""

    start: float
    calls: list[Call] = field(default_factory=list)
    stop: float = 0.0
    waited: float | None = None  # seconds since the step before it ended


class NoProfile:
    """What a session has if nobody asked: it watches nothing."""

    def step(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class Profile:
    """Watches the steps of a training.

    Examples
    --------
    >>> profile = Profile(warm_up=0, watched=1)
    >>> with profile.step():
    ...     pass
    >>> len(profile.steps)
    1
    """

    def __init__(self, warm_up: int = WARM_UP, watched: int = WATCHED) -> None:
        self.warm_up, self.watched = warm_up, watched
        self.seen = 0
        self.steps: list[Step] = []
        self._open: list[Call] = []  # calls whose backward is still to come, oldest first
        self._forward = (0.0, 0.0)
        self._last_stop: float | None = None

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around a training step, from clearing gradients to changed parameters."""
        self.seen += 1
        if not self.warm_up < self.seen <= self.warm_up + self.watched:
            yield
            return
        step = Step(time.perf_counter())
        if self._last_stop is not None:
            step.waited = step.start - self._last_stop
        self._open = []
        self.steps.append(step)
        with observe(self._observe), record(self._record):
            yield
        step.stop = self._last_stop = time.perf_counter()

    def _observe(
        self, op: str, phase: str, start: float, stop: float, arrays: tuple[Any, ...]
    ) -> None:
        if phase == "forward":
            self._forward = start, stop  # `_record` is told of the same op next
            return
        # Backward goes from the youngest op to the oldest; an op that the loss doesn't depend on
        # has none.
        while self._open:
            call = self._open.pop()
            if call.op == op:
                wanted = [array for array in arrays if array is not None]
                call.backward = start, stop
                call.backward_flops = call.flops * times_backward(op, arrays)
                call.backward_bytes = call.bytes + sum(array.nbytes for array in wanted)
                return

    def _record(
        self, function: Any, inputs: tuple[Any, ...], settings: dict[str, Any], outputs: Any
    ) -> None:
        op = function.__name__
        given = [tensor.data for tensor in inputs if tensor is not None]
        made = [tensor.data for tensor in outputs]
        call = Call(
            op,
            shapes(op, given, made),
            COUNTED[op](given, made) if op in COUNTED else 0.0,
            sum(array.nbytes for array in given + made),
            self._forward,
        )
        self.steps[-1].calls.append(call)
        if outputs[0].creator is not None:
            self._open.append(call)


# ---- what an op does ----------------------------------------------------------------------------


def convolution(x: Any, w: Any) -> float:
    """Floating point operations of a convolution without padding, stride 1."""
    out = (x.shape[1] - w.shape[0] + 1) * (x.shape[2] - w.shape[1] + 1)
    return 2.0 * x.shape[0] * out * w.size


def head(given: list[Any], made: list[Any]) -> float:
    """Of all stages: the 1x1 convolutions of their maps, which come first, and the small layers."""
    count = 2 * made[2].shape[1]
    windows = [array for array in given[count:] if array.ndim == 4]
    layers = sum(array.size for array in given[count:] if array.ndim == 2)
    return sum(map(convolution, given[:count], windows)) + 2.0 * len(given[0]) * layers


# By op: floating point operations forward, from the arrays going in and coming out.
COUNTED: dict[str, Callable[[list[Any], list[Any]], float]] = {
    "Stem": lambda given, made: convolution(given[0], given[1]) + convolution(given[0], given[5]),
    "Block": lambda given, made: convolution(given[0], given[1]),
    "Head": head,
    "Fusion": lambda given, made: convolution(given[0], given[1]),
    "Conv2d": lambda given, made: 2.0 * math.prod(made[0].shape[:3]) * given[1].size,
    "Dense": lambda given, made: 2.0 * len(given[0]) * given[1].size,
}


def times_backward(op: str, grads: tuple[Any, ...]) -> int:
    """How many times as many operations backward takes: once for the weights, once for x."""
    if op == "Stem":
        return 1
    return sum(grad is not None for grad in grads[:2])


def shapes(op: str, given: list[Any], made: list[Any]) -> str:
    """What tells one call from another: 50x31x31x32, 3x3x32x32 or 50x90 -> 50x3."""
    if op in COUNTED:
        return f"{by(given[0])}, {by(given[1])}"
    return by(made[0]) or "scalar"


def by(array: Any) -> str:
    """A shape."""
    return "x".join(map(str, array.shape))


# ---- for people ---------------------------------------------------------------------------------


@dataclass
class Row:
    """The calls of one op with one shape, summed over all watched steps."""

    op: str
    shape: str
    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    flops: float = 0.0
    backward_flops: float = 0.0
    bytes: float = 0.0
    backward_bytes: float = 0.0

    @property
    def seconds(self) -> float:
        return self.forward + self.backward

    def add(self, call: Call) -> None:
        """Count one more call."""
        self.calls += 1
        self.forward += call.forward[1] - call.forward[0]
        self.flops += call.flops
        self.bytes += call.bytes
        if call.backward is not None:
            self.backward += call.backward[1] - call.backward[0]
            self.backward_flops += call.backward_flops
            self.backward_bytes += call.backward_bytes


def rows_of(steps: list[Step]) -> list[Row]:
    """One row for each op and shape, the slowest first."""
    found: dict[tuple[str, str], Row] = {}
    for step in steps:
        for call in step.calls:
            found.setdefault((call.op, call.shape), Row(call.op, call.shape)).add(call)
    return sorted(found.values(), key=lambda row: -row.seconds)


def after_backward(step: Step) -> float:
    """Seconds from the last op's backward to the end of the step: the optimiser's."""
    ends = [call.backward[1] for call in step.calls if call.backward is not None]
    return step.stop - max(ends) if ends else 0.0


def table(profile: Profile) -> str:
    """The watched steps as text: a row an op, then what isn't an op's time, then the whole."""
    steps = profile.steps
    if not steps:
        return (
            f"profile   nothing was watched: the first {profile.warm_up} steps warm up, "
            "so train longer"
        )
    count = len(steps)
    rows = rows_of(steps)
    whole = sum(step.stop - step.start for step in steps)
    lines = [
        f"profile of {count} training step{'s' if count > 1 else ''}, "
        f"after {profile.warm_up} to warm up; averages of a step",
        heading(),
    ]
    lines += [line(row, count, whole) for row in rows[:ROWS]]
    if others := rows[ROWS:]:
        rest = Row(f"{len(others)} other ops", "")
        for row in others:
            rest.calls += row.calls
            rest.forward += row.forward
            rest.backward += row.backward
        lines.append(line(rest, count, whole))
    optimiser = sum(map(after_backward, steps))
    between = whole - optimiser - sum(row.seconds for row in rows)
    lines.append(plain("optimiser", optimiser / count, whole / count))
    lines.append(plain("between the ops", between / count, whole / count))
    flops = sum(row.flops + row.backward_flops for row in rows)
    rate = f", {flops / whole / 1e9:.0f} GFLOP/s" if flops else ""
    lines.append(f"{'whole step':<60}{whole / count * 1e3:9.2f} ms{rate}")
    waits = [step.waited for step in steps if step.waited is not None]
    if waits:
        longest, usual = max(waits), sorted(waits)[len(waits) // 2]
        lines.append(
            f"{'waiting for faces, between two steps':<60}{usual * 1e3:9.2f} ms, "
            f"at most {longest * 1e3:.2f}"
        )
    return "\n".join(lines)


def heading() -> str:
    columns = f"{'op':<16}{'shape':<28}{'calls':>6}"
    return (
        columns
        + "".join(f"{way:>10}{'GFLOP/s':>9}{'GB/s':>7}" for way in ("fwd ms", "bwd ms"))
        + f"{'share':>7}"
    )


def line(row: Row, count: int, whole: float) -> str:
    """A row of the table, a step's average."""
    columns = f"{row.op:<16}{row.shape:<28}{row.calls / count:>6.0f}"
    for seconds, flops, moved in (
        (row.forward, row.flops, row.bytes),
        (row.backward, row.backward_flops, row.backward_bytes),
    ):
        columns += f"{seconds / count * 1e3:>10.3f}{rate(flops, seconds, 0):>9}"
        columns += f"{rate(moved, seconds, 1):>7}"
    return columns + f"{row.seconds / whole:>7.1%}"


def rate(amount: float, seconds: float, digits: int) -> str:
    """Billions a second, or nothing where nothing was counted."""
    return f"{amount / seconds / 1e9:.{digits}f}" if amount and seconds else ""


def plain(what: str, seconds: float, whole: float) -> str:
    """A line for time that is no op's."""
    return f"{what:<50}{seconds * 1e3:>10.3f}{'':>42}{seconds / whole:>7.1%}"


def write_trace(profile: Profile, path: Path) -> None:
    """Write the watched steps for Chrome's trace viewer; times there are microseconds."""
    if not profile.steps:
        return
    origin = profile.steps[0].start
    events: list[dict[str, Any]] = []

    def event(name: str, kind: str, start: float, stop: float, **about: Any) -> None:
        events.append(
            {
                "name": name,
                "cat": kind,
                "ph": "X",
                "ts": round((start - origin) * 1e6, 3),
                "dur": round((stop - start) * 1e6, 3),
                "pid": 1,
                "tid": 1,
                "args": about,
            }
        )

    for number, step in enumerate(profile.steps, start=profile.warm_up + 1):
        event(f"step {number}", "step", step.start, step.stop)
        for call in step.calls:
            told: dict[str, Any] = {"shape": call.shape, "flops": call.flops, "bytes": call.bytes}
            event(call.op, "forward", *call.forward, **told)
            if call.backward is not None:
                told |= {"flops": call.backward_flops, "bytes": call.backward_bytes}
                event(f"{call.op} backward", "backward", *call.backward, **told)
        if (optimiser := after_backward(step)) > 0:
            event("optimiser", "optimiser", step.stop - optimiser, step.stop)
    record = {"traceEvents": sorted(events, key=lambda e: e["ts"]), "displayTimeUnit": "ms"}
    write_text(path, json.dumps(record) + "\n")
