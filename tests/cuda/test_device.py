"""What only hardware can exercise, as far as the order of calls goes: copies beside a computation,
inference as a graph; and the script for whoever has a card, on the stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_check
from minissr.kernels.backend import use_backend
from minissr.models.device_inference import DeviceRun
from minissr.models.inference import InferenceEngine
from minissr.models.ssrnet import SSRNet
from minissr.training.feed import feed
from tests.training.tiny import NETWORK

pytestmark = pytest.mark.gpu_rungs


def batches(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8), rng.random(n)) for n in sizes]


@pytest.mark.parametrize("sizes", [(), (3,), (3, 5, 5, 2)])
def test_batches_arrive_in_order(cp: Any, sizes: tuple[int, ...]) -> None:
    sent = batches(*sizes)
    got = [(a.get(), b.get(), c) for a, b, c in feed(sent, "cupy")]
    assert len(got) == len(sent)
    for (images, ages), (there, there_ages, same_ages) in zip(sent, got, strict=True):
        np.testing.assert_array_equal(there, images)
        np.testing.assert_array_equal(there_ages, ages)
        assert same_ages is ages


def test_the_next_batch_is_on_its_way_before_this_one_is_used(cp: Any) -> None:
    asked: list[int] = []

    def source() -> Any:
        for number, batch in enumerate(batches(2, 2, 2)):
            asked.append(number)
            yield batch

    seen = [list(asked) for _ in feed(source(), "cupy")]
    assert seen == [[0, 1], [0, 1, 2], [0, 1, 2]]


def test_copies_and_computation_wait_for_each_other(
    cp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call on the two streams, in order: a batch is used when it has arrived, and its slot
    is filled again when it has left the host's memory and what was queued on it is done."""
    stream, calls = cp.cuda.Stream, []
    copy, record, wait = cp.ndarray.set, stream.record, stream.wait_event
    events: dict[Any, str] = {}  # what each one marks

    def noted_copy(self: Any, *arguments: Any, **settings: Any) -> None:
        assert settings["stream"] is not stream.null
        calls.append("copy")
        copy(self, *arguments, **settings)

    def noted_record(self: Any) -> Any:
        event, kind = record(self), "use" if self is stream.null else "arrival"
        events[event] = f"{kind} {sum(known.startswith(kind) for known in events.values())}"
        calls.append(events[event])
        return event

    def noted_wait(self: Any, event: Any) -> None:
        calls.append(f"{'compute' if self is stream.null else 'copies'} after {events[event]}")
        wait(self, event)

    def noted_synchronize(self: Any) -> None:
        calls.append(f"host after {events[self]}")

    monkeypatch.setattr(cp.cuda.Event, "synchronize", noted_synchronize)
    monkeypatch.setattr(cp.ndarray, "set", noted_copy)
    monkeypatch.setattr(stream, "record", noted_record)
    monkeypatch.setattr(stream, "wait_event", noted_wait)
    for _ in feed(batches(2, 2, 2), "cupy"):
        calls.append("computing")
    assert calls == [
        *("copy", "copy", "arrival 0"),
        *("copy", "copy", "arrival 1"),
        *("compute after arrival 0", "computing", "use 0"),
        *("host after arrival 0", "copies after use 0", "copy", "copy", "arrival 2"),
        *("compute after arrival 1", "computing", "use 1"),
        *("compute after arrival 2", "computing"),
    ]


def test_on_a_cpu_nothing_is_copied() -> None:
    ((images, ages),) = batches(2)
    ((same, target, host),) = feed([(images, ages)], "numba")
    assert same is images
    assert target is ages is host


@pytest.mark.parametrize("graph", [False, True])
def test_ages_of_a_device_are_those_of_the_layers(cp: Any, graph: bool) -> None:
    images = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    with use_backend("cupy"):
        model = SSRNet(**NETWORK).to("cupy")
        run, ages = DeviceRun(model, graph=graph), np.empty(3, np.float32)
        for faces in (images, images[::-1]):  # captured, then started again
            run(faces, ages)
            expected = np.empty(3, np.float32)
            DeviceRun(model)(faces, expected)
            np.testing.assert_array_equal(ages, expected)
    with cp.record() as log, use_backend("cupy"):
        run(images, ages)
    kinds = [work.kind for work in log]
    assert kinds == (["to device", "graph", "to host"] if graph else
                     ["to device", *["kernel"] * 12, "to host"])  # fmt: skip


@pytest.mark.parametrize("graph", [False, True])
def test_the_engine_of_a_network_on_the_device(cp: Any, graph: bool) -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    here = SSRNet(**NETWORK).eval()
    with use_backend("cupy"):
        ages = InferenceEngine(SSRNet(**NETWORK).to("cupy"), graph=graph)(images)
    np.testing.assert_allclose(ages, InferenceEngine(here)(images), rtol=1e-4)


def test_the_stand_in_captures_nothing_it_cannot_do_again(cp: Any) -> None:
    stream = cp.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="captures kernels only"):
            cp.zeros(3)
        stream.end_capture()


# ---- the script for whoever has a card ----------------------------------------------------------


def test_without_a_card_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main([]) == 5
    said = capsys.readouterr().err
    assert said.startswith("gpu_check needs ")
    assert said.count("\n") == 1


class Clock:
    """Events of a device without time."""

    def pair(self) -> tuple[Any, Any]:
        import cupy

        return cupy.cuda.Event(), cupy.cuda.Event()

    def milliseconds(self, start: Any, stop: Any) -> float:
        assert start.recorded
        assert stop.recorded
        return 20.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few cases, a small network and one step to a timing."""
    from tests.cuda import cases

    some = {name: cases.CASES[name] for name in ("adam", "stagewise")}
    monkeypatch.setattr(cases, "CASES", some)
    monkeypatch.setattr(gpu_check, "network", lambda: SSRNet(**NETWORK).to("cupy"))
    monkeypatch.setattr(gpu_check, "CupyEvents", Clock)
    for name in ("STEPS", "ROUNDS"):
        monkeypatch.setattr(gpu_check, name, 1)
    monkeypatch.setattr(gpu_check, "bounds", lambda batch: {"skipped": "not here"})
    monkeypatch.setattr(gpu_check, "check_training", lambda: {"right": True})


def test_the_report(cp: Any, quick: None, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    assert gpu_check.main(["--batch", "2", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["right"]
    assert {row["case"] for row in report["kernels"]["cases"]} == {"adam", "stagewise"}
    assert report["times"]["training step"]["ms"] == 20.0
    assert report["graph"]["right"]
    assert report["copies beside computation"]["right"]


def test_what_is_wrong_is_in_the_report(
    cp: Any, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.kernels.optim import cupy_gpu

    def broken(*arguments: Any) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(cupy_gpu.OPTIM, "launch", broken)
    out = tmp_path / "report.json"
    assert gpu_check.main(["--batch", "2", "--out", str(out)]) == 1
    report = json.loads(out.read_text())
    assert not report["right"]
    wrong = [row for row in report["kernels"]["cases"] if not row["right"]]
    assert {row["case"] for row in wrong} == {"adam"}
    assert "no such luck" in wrong[0]["error"]
    assert "no such luck" in report["times"]["training step"]["error"]


def test_the_bound_beside_a_time() -> None:
    card = {"flops": 1e12, "bandwidth": 1e11}
    times: dict[str, Any] = {"training step": {"ms": 6.0}, "inference": {"error": "no"}}
    gpu_check.against_bound(times, {"training step": {"flops": 1e9, "ideal_bytes": 2e8}}, card)
    assert times["training step"]["bound_ms"] == pytest.approx(2.0)
    assert times["training step"]["times_bound"] == pytest.approx(3.0)
    assert times["inference"] == {"error": "no"}
