"""Rung 5: training on the emulated device, from the first step to a resumed run.

Nothing of minissr knows that the device is emulated; from the command line the same is
`python -m tests.cuda_emulator -m minissr.train --backend cupy`.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minissr import Tensor
from minissr.data.synthetic import draw_faces
from minissr.kernels import cuda
from minissr.kernels.backend import use_backend
from minissr.models.ssrnet import SSRNet
from minissr.training import state
from minissr.training.checkpoint import read_checkpoint
from minissr.training.optim import Adam
from tests.training.tiny import TINY, run_train

pytestmark = pytest.mark.gpu_rungs

STEPS, BATCH = 20, 4


def losses(backend: str, dtype: str, lr: float) -> np.ndarray:
    """The losses of some steps of SSR-Net on synthetic faces."""
    images, ages, _ = draw_faces(STEPS * BATCH, stream="train", seed=0)
    found = []
    with use_backend(backend):
        model = SSRNet(rng=np.random.default_rng(1)).astype(dtype).to(backend)
        optimizer = Adam(model.parameters(), lr)
        for step in range(STEPS):
            batch = slice(step * BATCH, (step + 1) * BATCH)
            model.zero_grad()
            masks = np.random.default_rng((0, step))
            loss, _ = model.loss(images[batch], ages[batch].astype(dtype), rng=masks)
            loss.backward()
            optimizer.step()
            found.append(float(loss.item()))
    return np.array(found)


@pytest.mark.parametrize(
    ("dtype", "lr", "tolerance"), [("float64", 1e-3, 1e-10), ("float32", 1e-4, 1e-4)]
)
def test_twenty_steps_are_those_of_numba(cp: Any, dtype: str, lr: float, tolerance: float) -> None:
    """float64 shows that nothing but rounding differs; in float32 the steps are small.

    With larger ones two float32 trainings go their own ways, whatever computes them: at a rate of
    1e-3 the losses of Numba and NumPy are 5e-2 apart after 20 steps (1e-4: 2e-6). What happens, by
    comparing their parameters step by step: Adam divides a gradient by its own size, so where a
    gradient is all but 0 (3e-5 in a layer whose largest is 7) its rounding becomes 3 % of a step.
    Four steps later that has moved one unit of level 4 across the ReLU's kink; the gradient of its
    weights changes from 0.29 to 0.64 at once, Adam makes 15 % of a step of it, and more units
    follow. Between such events nothing grows fast: a change of 1e-12 of the weights, too small to
    move a unit across, changes float64 losses by 2e-11 in 20 steps, at both rates; one of 1e-7
    changes them by 2e-6 or by 7e-4, as chance has it.
    """
    np.testing.assert_allclose(
        losses("cupy", dtype, lr), losses("numba", dtype, lr), rtol=tolerance
    )


def test_numbers_go_where_the_tensors_are(cp: Any) -> None:
    x = Tensor(np.float32([1, 2])).to("cupy")
    for value in (x * 2.0, 2.0 * x, x * np.float64(2)):
        assert value.to("numpy").data.tolist() == [2, 4]
        assert value.dtype == np.float32


@pytest.mark.parametrize("loss", ["smooth", "distribution"])
def test_the_unusual_settings_train_there_too(cp: Any, tmp_path: Path, loss: str) -> None:
    """Losses, average, decay and the range of pixels, to the weights that NumPy ends with."""
    told = [f"--set=loss={loss}", "--set=average=0.5", "--set=weight_decay=0.1"]
    told += ["--set=pixels=centered", "--lr", "0.0001", "--epochs", "1"]
    for backend in ("numpy", "cupy"):
        flags = ["--backend", backend, "--out", str(tmp_path / backend)]
        assert run_train(*TINY, *told, *flags) == 0
    one, other = (
        read_checkpoint(tmp_path / backend / "last.safetensors").section("average")
        for backend in ("numpy", "cupy")
    )
    for name, tensor in one.items():
        np.testing.assert_allclose(other[name], tensor, rtol=1e-4, atol=1e-4, err_msg=name)


def test_saved_on_one_backend_and_resumed_on_another(
    cp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after every step, each next one on the other backend; the end is the same."""
    whole, split = tmp_path / "whole", tmp_path / "split"
    settings = [*TINY, "--lr", "0.0001"]
    assert run_train(*settings, "--out", str(whole)) == 0
    count = state.Progress.count_batch

    def count_and_stop(progress: state.Progress, mae: float, images: int) -> None:
        count(progress, mae, images)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(state.Progress, "count_batch", count_and_stop)
    codes = [run_train(*settings, "--backend", "cupy", "--out", str(split))]
    others = ["numba", "cupy"]
    while codes[-1] == 130:
        others.reverse()
        codes.append(run_train("--resume", str(split), "--backend", others[1]))
    assert len(codes) > 4
    assert codes[-1] == 0

    one = read_checkpoint(whole / "last.safetensors").tensors
    other = read_checkpoint(split / "last.safetensors").tensors
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if name.startswith("model/"):
            np.testing.assert_allclose(other[name], tensor, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_text_of_the_kernels_is_what_trains(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that no compiler takes, in one file, and training fails: nothing stands in for it."""
    program = cuda.Program(str(cuda.KERNELS / "optim" / "module.py"), "optim.cu")
    program.source = f"#error planted\n{program.source}"
    from minissr.kernels.optim import cupy_gpu

    monkeypatch.setattr(cupy_gpu, "OPTIM", program)
    with pytest.raises(Exception, match="planted"):
        losses("cupy", "float32", 1e-4)
