"""The inference engine: the network's own answers, from any batch, thread or number of threads."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs Numba")
from minissr.data.preprocessing import Preprocessing
from minissr.kernels.backend import use_backend
from minissr.models.inference import InferenceEngine, LayerRun, Plan
from minissr.models.ssrnet import SSRNet
from tests.conftest import ROOT

RAW = Preprocessing()
NETWORKS: list[tuple[dict[str, Any], Preprocessing]] = [
    ({}, RAW),
    ({"variant": "released"}, RAW),
    ({"variant": "paper"}, Preprocessing(color="bgr", scale=1 / 64, offset=-2.0)),
    ({"stages": (4, 5), "image_size": 61}, Preprocessing(size=61)),
    ({"stages": (2, 3, 4, 5), "activation_p": "softplus", "floor": 0.0}, RAW),
    ({"stages": (7,), "compact": 3, "activation_x": "relu6", "activation_mix": "none"}, RAW),
]


def trained(**settings: Any) -> SSRNet:
    """A network whose numbers are all different from their first values."""
    rng = np.random.default_rng(5)
    model = SSRNet(**settings)
    state = model.state_dict()
    for name, array in state.items():
        if name.endswith("moving_variance"):
            array[...] = rng.uniform(0.3, 2, array.shape) * (4000 if ".0." in name else 1)
        elif array.ndim == 1:
            array += rng.normal(0, 0.2, array.shape).astype(np.float32)
    model.load_state_dict(state)
    return model


def faces(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize(("settings", "preprocessing"), NETWORKS)
def test_ages_are_the_networks_own(settings: dict[str, Any], preprocessing: Preprocessing) -> None:
    model, images = trained(**settings), faces(3, preprocessing.size)
    engine = InferenceEngine(model, preprocessing)
    assert engine.fused
    ages = engine(images)
    expected = np.empty(3, np.float32)
    with use_backend("numpy"):
        LayerRun(model.astype(np.float64), preprocessing)(images, expected)
    assert ages.dtype == np.float32
    np.testing.assert_allclose(ages, expected, atol=1e-3)  # years
    assert np.ptp(ages) > 1e-3  # or nothing was compared


def test_other_networks_run_on_their_layers() -> None:
    model = trained(filters_s=6, filters_x=10)
    engine = InferenceEngine(model)
    assert not engine.fused
    np.testing.assert_allclose(engine(faces(2)), model.eval()(faces(2)).numpy(), atol=1e-4)


def test_bands_write_their_own_rows_and_nothing_else() -> None:
    """In any order, as threads may take them: on maps of an odd width too, where the last window
    of a row has no neighbour."""
    from minissr.kernels.inference import numba_simd as kernel

    plan = Plan(trained(stages=(4, 5), image_size=61), Preprocessing(size=61))
    assert any(block["size"] % 2 and block["pools"] for block in plan.blocks)
    before = np.random.default_rng(0).normal(size=plan.scratch_size).astype(np.float32)

    def compute(number: int, maps: np.ndarray, band: int, bands: int) -> None:
        block = plan.blocks[number]
        if number >= 2:
            work = before.copy()
            kernel.run_block(block, number % 2, plan.numbers, maps, work, band, bands)
            return
        size = block["size"]  # the first level's two are one step; what the other wrote is put back
        rows = band * size // bands, (band + 1) * size // bands
        kernel.stem.pooling_rows(*plan.blocks[:2], plan.numbers, maps, *rows)
        other = plan.blocks[1 - number]
        theirs = slice(other["output"], other["output"] + size * size * other["filters"])
        maps[theirs] = before[theirs]

    for number, block in enumerate(plan.blocks):
        start, size = block["output"], block["size"]
        stop, rows = start + size * size * block["filters"], size * block["filters"]

        whole = before.copy()
        compute(number, whole, 0, 1)
        np.testing.assert_array_equal(whole[:start], before[:start])
        np.testing.assert_array_equal(whole[stop:], before[stop:])
        assert (whole[start:stop] != before[start:stop]).all()
        if block["pools"]:
            for band in range(3):
                alone, (first, last) = before.copy(), (band * size // 3, (band + 1) * size // 3)
                compute(number, alone, band, 3)
                mine = slice(start + first * rows, start + last * rows)
                np.testing.assert_array_equal(alone[mine], whole[mine])
                alone[mine] = before[mine]
                np.testing.assert_array_equal(alone, before)


def test_an_age_does_not_depend_on_the_batch() -> None:
    engine, images = InferenceEngine(trained()), faces(21)
    together = engine(images)
    for count in (1, 2, 3, 5, 16):
        pieces = [engine(images[i : i + count]) for i in range(0, 21, count)]
        np.testing.assert_array_equal(np.concatenate(pieces), together)


def test_the_network_is_copied_and_out_is_filled() -> None:
    model = trained()
    engine, images = InferenceEngine(model), faces(2)
    before, out = engine(images), np.empty(2, np.float32)
    model.load_state_dict(trained(rng=np.random.default_rng(9)).state_dict())
    assert engine(images, out) is out
    np.testing.assert_array_equal(out, before)


def test_any_memory_will_do() -> None:
    engine, images = InferenceEngine(trained()), faces(4)
    expected = engine(images)
    images.setflags(write=False)
    np.testing.assert_array_equal(engine(images), expected)
    np.testing.assert_array_equal(engine(np.asfortranarray(images)), expected)
    assert engine(images[:0]).shape == (0,)


def test_wrong_faces_are_refused_in_a_sentence() -> None:
    engine = InferenceEngine(trained())
    for wrong in (np.zeros((2, 64, 64, 3), np.float32), faces(2, 32), faces(2)[0]):
        with pytest.raises(ValueError, match=r"expected \(N, 64, 64, 3\) and uint8"):
            engine(wrong)


def test_python_threads_share_an_engine() -> None:
    engine, images = InferenceEngine(trained()), faces(12)
    expected = engine(images)
    wrong: list[int] = []

    def work(start: int) -> None:
        for repeat in range(20):
            count = 1 + (repeat + start) % 4
            ages = engine(images[start : start + count])
            if not np.array_equal(ages, expected[start : start + count]):
                wrong.append(start)

    workers = [threading.Thread(target=work, args=(start,)) for start in (0, 4, 8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_the_same_bits_on_one_two_and_four_threads() -> None:
    """Four threads need a process of their own; the layer is tbb and, once more, workqueue."""
    answers = set()
    for chosen in ("default", "workqueue"):
        environment = {**os.environ, "NUMBA_NUM_THREADS": "4", "NUMBA_THREADING_LAYER": chosen}
        done = subprocess.run(
            [sys.executable, "-m", "tests.test_inference"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers.update(json.loads(done.stdout))
    assert len(answers) == 1


def digests() -> list[str]:
    """Of the ages, by 1, 2 and 4 threads."""
    from minissr.kernels import threads

    engine, images, result = InferenceEngine(trained()), faces(9), []
    for count in (1, 2, 4):
        threads.set_threads(count)
        ages = b"".join(engine(images[:n]).tobytes() for n in (1, 3, 9))
        result.append(hashlib.sha256(ages).hexdigest())
    return result


if __name__ == "__main__":
    print(json.dumps(digests()))
