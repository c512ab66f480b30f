"""MobileNet and DenseNet through the train command: to the end, resumed, measured, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from minissr import evaluate, inspect, predict, train
from minissr.training import figures
from tests.training.tiny import FACES, metrics_of

SETTINGS = [f"--set={key}={value}" for key, value in FACES.items()]
NUMPY = ["--backend", "numpy"]
RUN = [*NUMPY, "--batch-size", "8", "--epochs", "2", *SETTINGS]
RIVALS = {"mobilenet": ["--set", "alpha=0.1"], "densenet": ["--set", "depth=7"]}


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch):
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")


def test_from_the_first_step_to_an_age(call, pictures, tmp_path):
    run = tmp_path / "run"
    code, out, _ = call(train, "--model", "mobilenet", *RIVALS["mobilenet"], *RUN, "--out", run)
    assert code == 0
    assert "network   mobilenet, " in out
    assert "no stage health: this network has no stages" in out
    assert [line["stage_health"] for line in metrics_of(run)] == [[], []]
    assert not (run / "health.png").exists()
    assert call(evaluate, run, "--data", "synthetic", *NUMPY)[0] == 0
    code, out, _ = call(predict, pictures / "a.png", "--weights", run, *NUMPY)
    assert (code, "years" in out) == (0, True)
    for door, arguments in (
        (predict, [pictures / "a.png", "--weights", run, "--explain"]),
        (inspect, [run, "--data", "synthetic"]),
    ):
        code, _, err = call(door, *arguments, *NUMPY)
        assert (code, "MobileNet has no stages" in err) == (2, True)


def test_resumed_it_is_the_same_to_the_byte(call, tmp_path):
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    rival = ["--model", "mobilenet", *RIVALS["mobilenet"], *RUN]
    assert call(train, *rival, "--out", whole)[0] == 0

    from minissr.training import loop

    with pytest.MonkeyPatch.context() as patch:
        end = loop.end_epoch

        def stop_after(session, record):
            end(session, record)
            raise KeyboardInterrupt

        patch.setattr(loop, "end_epoch", stop_after)
        assert call(train, *rival, "--out", halved)[0] == 130
    assert call(train, "--resume", halved)[0] == 0
    assert metrics_of(halved) == metrics_of(whole)
    for name in ("last.safetensors", "best.safetensors"):
        assert (halved / name).read_bytes() == (whole / name).read_bytes()


def test_weights_decay_in_densenet(call, tmp_path):
    """With a decay so strong that nothing else counts, the first convolution shrinks."""
    import numpy as np

    from minissr.training.network import load_network

    norms = []
    for l2 in ("0", "1000"):
        run = tmp_path / l2
        arguments = [*RIVALS["densenet"], f"--set=l2={l2}", "--set", "dropout=0", *RUN]
        assert call(train, "--model", "densenet", *arguments, "--out", run)[0] == 0
        norms.append(np.linalg.norm(load_network(run / "last.safetensors").model.first.w.data))
    assert norms[1] < 0.99 * norms[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "densenet", "--set", "depth=12"], "depth 12; expected"),
        (["--model", "densenet", "--set", "depth=deep"], "--set depth deep; expected a whole"),
        (["--model", "mobilenet", "--set", "alpha=0"], "alpha 0.0; expected"),
        (["--model", "mobilenet", "--stages", "3,3"], "--stages: no such key"),
        (["--model", "mobilenet", "--set", "depth=19"], "--set depth: no such key"),
    ],
)
def test_settings_of_another_network_are_named(call, tmp_path: Path, arguments, says):
    code, _, err = call(train, *arguments, *RUN, "--out", tmp_path / "run")
    assert code == 2
    assert says in err
    assert not (tmp_path / "run").exists()
