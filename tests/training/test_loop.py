"""What a run leaves behind, and that equal runs leave equal files."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from minissr.training import figures, loop, state
from minissr.training.checkpoint import read_checkpoint
from minissr.training.network import load_network
from tests.training.tiny import STEPS, TINY, metrics_of, run_train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went to its end."""
    run = tmp_path_factory.mktemp("runs") / "run"
    assert run_train(*TINY, "--out", str(run)) == 0
    return run


@pytest.fixture(autouse=True)
def _no_pictures(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the training; one run with pictures is enough."""
    monkeypatch.setattr(figures, "png", lambda figure: b"not drawn")


def test_a_run_leaves_what_was_promised(finished: Path) -> None:
    files = "config.json metrics.jsonl curves.png health.png last.safetensors best.safetensors"
    for name in [*files.split(), "report.md"]:
        assert (finished / name).stat().st_size > 0, name
    assert not list(finished.glob(".*.tmp"))


def test_metrics_have_the_promised_fields(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    fields = "epoch step lr train_mae val_mae val_ca3 val_ca5 seconds stage_health images_per_s"
    assert [set(line) for line in lines] == [set(fields.split())] * 2
    assert [line["epoch"] for line in lines] == [1, 2]
    assert [line["step"] for line in lines] == [STEPS, 2 * STEPS]
    stage = "stage own_std mean_width p_std eta_std delta_std dead_share alive"
    assert all(set(s) == set(stage.split()) for line in lines for s in line["stage_health"])


def test_the_report_shows_pictures_that_are_there(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    shown = [part.split(")")[0] for part in text.split("](")[1:]]
    assert len(shown) >= 5
    for name in shown:
        assert (finished / name).read_bytes().startswith(b"\x89PNG"), name


def test_best_is_the_epoch_with_the_lowest_validation_error(finished: Path) -> None:
    best = read_checkpoint(finished / "best.safetensors").metadata["best"]
    assert best["val_mae"] == round(min(line["val_mae"] for line in metrics_of(finished)), 4)


def test_the_metrics_are_those_of_the_network(finished: Path) -> None:
    """The last line's validation error, measured again from the file."""
    from minissr.data.opening import open_dataset
    from minissr.kernels.backend import use_backend
    from minissr.training.measure import predict_ages
    from tests.training.tiny import FACES

    network = load_network(finished / "last.safetensors")
    faces = open_dataset("synthetic", settings=FACES).split("val")
    with use_backend("numpy"):
        ages = predict_ages(network.model, faces.images, network.preprocessing)
    assert np.abs(ages - faces.ages).mean() == pytest.approx(metrics_of(finished)[-1]["val_mae"])


def test_the_same_seed_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "other"
    assert run_train(*TINY, "--out", str(other), "--threads", "1", "--checkpoint-every", "0") == 0
    for name in ("last.safetensors", "best.safetensors"):
        assert (other / name).read_bytes() == (finished / name).read_bytes()
    assert metrics_of(other) == metrics_of(finished)


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    """The whole network, compiled: fused kernels, their gradients, the optimiser, the warp."""
    threads = pytest.importorskip("minissr.kernels.threads")
    if threads.available() < 2:
        pytest.skip("one thread is all there is")
    faces = [f"--set={split}_images={n}" for split, n in (("train", 50), ("val", 9), ("test", 9))]
    flags = ["--backend", "numba", "--epochs", "1", "--batch-size", "20", *faces]
    before = threads.get_threads()
    try:
        for count in (1, threads.available()):
            where = ["--threads", str(count), "--out", str(tmp_path / str(count))]
            assert run_train(*flags, *where) == 0
    finally:
        threads.set_threads(before)
    one, all_of_them = (
        (tmp_path / str(count) / "last.safetensors").read_bytes()
        for count in (1, threads.available())
    )
    assert one == all_of_them


def test_another_seed_gives_others(finished: Path, tmp_path: Path) -> None:
    assert run_train(*TINY, "--out", str(tmp_path / "run"), "--seed", "1") == 0
    mine = read_checkpoint(tmp_path / "run" / "last.safetensors").tensors
    theirs = read_checkpoint(finished / "last.safetensors").tensors
    name = "model/streams.x.0.conv.w"
    assert not np.array_equal(mine[name], theirs[name])


def train_by_single_steps(run: Path, patch: pytest.MonkeyPatch, *flags: str) -> None:
    """Train two epochs; each time the run is entered, it is asked to stop after one step."""
    count = state.Progress.count_batch

    def count_and_stop(progress: state.Progress, mae: float, images: int) -> None:
        count(progress, mae, images)
        signal.raise_signal(signal.SIGTERM)

    patch.setattr(state.Progress, "count_batch", count_and_stop)
    codes = [run_train(*flags, "--out", str(run))]
    while codes[-1] == 130 and len(codes) <= 2 * STEPS:
        codes.append(run_train("--resume", str(run)))
    assert codes == [130] * 2 * STEPS + [0]


def test_stopped_at_every_batch_and_resumed_gives_the_same_bytes(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    train_by_single_steps(run, monkeypatch, *TINY)
    assert capsys.readouterr().err.count(f"--resume {run}") == 2 * STEPS
    assert (run / "last.safetensors").read_bytes() == (finished / "last.safetensors").read_bytes()
    assert (run / "best.safetensors").read_bytes() == (finished / "best.safetensors").read_bytes()
    assert metrics_of(run) == metrics_of(finished)


# Everything that a run can be told besides the usual.
UNUSUAL = [
    *("--set=warm_up=0.5", "--set=weight_decay=0.1", "--set=average=0.5", "--set=pixels=centered"),
    *("--set=loss=distribution", "--set=label_sigma=5", "--set=dropout=0.2"),
    *("--augment", "paper+light+color+blur+erase"),
]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_unusual_run_stopped_at_every_batch_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    flags = [*TINY, *UNUSUAL, "--backend", backend]
    assert run_train(*flags, "--out", str(tmp_path / "whole")) == 0
    train_by_single_steps(tmp_path / "run", monkeypatch, *flags)
    for name in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_average_is_what_is_measured_kept_and_loaded(tmp_path: Path) -> None:
    from minissr.data.opening import open_dataset
    from minissr.kernels.backend import use_backend
    from minissr.training.measure import predict_ages
    from tests.training.tiny import FACES

    run = tmp_path / "run"
    assert run_train(*TINY, "--set=average=0.5", "--set=pixels=unit", "--out", str(run)) == 0
    last = read_checkpoint(run / "last.safetensors")
    network = load_network(run / "last.safetensors")
    name = "streams.x.0.conv.w"
    kept = network.model.state_dict()[name]
    np.testing.assert_array_equal(kept, last.section("average")[name])
    assert not np.array_equal(kept, last.section("model")[name])
    assert network.preprocessing.scale == 1 / 255
    faces = open_dataset("synthetic", settings=FACES).split("val")
    with use_backend("numpy"):
        ages = predict_ages(network.model, faces.images, network.preprocessing)
    assert np.abs(ages - faces.ages).mean() == pytest.approx(metrics_of(run)[-1]["val_mae"])


def test_the_usual_is_not_said_in_checkpoints(finished: Path) -> None:
    """So that what was trained before there were these settings can be gone on with."""
    recipe = read_checkpoint(finished / "last.safetensors").metadata["training"]
    config = json.loads((finished / "config.json").read_text())
    for key in ("warm_up", "weight_decay", "average", "loss", "label_sigma", "pixels"):
        assert key in config
        assert key not in recipe


def test_a_loss_that_the_network_has_no_use_for_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    flags = [*TINY, "--set=loss=distribution", "--set=activation_p=relu"]
    assert run_train(*flags, "--out", str(run)) == 2
    assert "softmax or normalized" in capsys.readouterr().err
    assert not run.exists()


def test_a_finished_run_says_so(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "last.safetensors").stat().st_mtime_ns
    assert run_train("--resume", str(finished)) == 0
    assert "is finished" in capsys.readouterr().out
    assert (finished / "last.safetensors").stat().st_mtime_ns == before


def test_a_run_without_checkpoint_starts_from_its_configuration(
    finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_bytes((finished / "config.json").read_bytes())
    assert run_train("--resume", str(run)) == 0
    assert (run / "last.safetensors").read_bytes() == (finished / "last.safetensors").read_bytes()


def test_a_written_configuration_repeats_the_run(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert run_train("--config", str(finished / "config.json"), "--out", str(run)) == 0
    assert (run / "last.safetensors").read_bytes() == (finished / "last.safetensors").read_bytes()


def test_init_takes_the_weights_and_says_so_in_the_checkpoint(
    finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*TINY, "--lr", "1e-9", "--epochs", "1", "--init", str(finished)]
    assert run_train(*arguments, "--out", str(run)) == 0
    mine = read_checkpoint(run / "last.safetensors")
    theirs = load_network(finished)
    name = "streams.x.0.conv.w"
    np.testing.assert_allclose(
        mine.section("model")[name], theirs.model.state_dict()[name], atol=1e-6
    )
    assert mine.metadata["init"] == theirs.sha256


def test_the_training_error_is_the_mean_over_the_faces_as_they_were_learnt(tmp_path: Path) -> None:
    """With no learning to speak of, the same faces give the same errors without the loop."""
    from minissr.data.loader import Batches
    from minissr.data.opening import open_dataset
    from minissr.kernels.backend import use_backend
    from minissr.models.registry import build
    from tests.training.tiny import FACES, NETWORK

    run = tmp_path / "run"
    flags = ["--lr", "1e-12", "--set=dropout=0", "--epochs", "1"]
    assert run_train(*TINY, *flags, "--out", str(run)) == 0
    model = build("ssrnet", rng=np.random.default_rng(0), dropout=0.0, **NETWORK)
    faces = open_dataset("synthetic", settings=FACES).split("train")
    with use_backend("numpy"):
        errors = [
            np.abs(model(images).numpy() - ages)
            for images, ages, _ in Batches(faces, 8, seed=0, augment="paper").epoch(0)
        ]
    assert [len(part) for part in errors] == [8, 8, 6]
    (line,) = metrics_of(run)
    assert line["train_mae"] == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)


@pytest.mark.parametrize(("epochs", "batch"), [(1, 22), (1, 21), (1, 7)])
def test_batches_of_every_remainder_train(tmp_path: Path, epochs: int, batch: int) -> None:
    arguments = [*TINY, "--epochs", str(epochs), "--batch-size", str(batch)]
    assert run_train(*arguments, "--out", str(tmp_path / "run")) == 0


def test_divergence_is_a_sentence_and_keeps_what_was_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.metrics, "mean_absolute_error", lambda *_: float("nan"))
    assert run_train(*TINY, "--out", str(tmp_path / "run")) == 2
    assert "lower --lr" in capsys.readouterr().err
    assert load_network(tmp_path / "run").about["progress"]["step"] == 0
