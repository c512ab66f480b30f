"""`inspect`: figures, picture, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from minissr import inspect
from minissr.data.synthetic import draw_faces
from minissr.faces import sample
from minissr.training.checkpoint import pack, read_checkpoint
from tests.doors.conftest import Run


def test_numbers_picture_and_json(trained: Path, tmp_path: Path, call: Run) -> None:
    figure, figures = tmp_path / "stages.png", tmp_path / "stages.json"
    numpy = ("--backend", "numpy", "--faces", 8)
    code, out, _ = call(
        inspect, trained, "--data", "synthetic", *numpy, "--out", figure, "--json", figures
    )
    assert code == 0
    assert "faces    8 of synthetic" in out
    assert "ages reachable" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    told = json.loads(figures.read_text())
    assert told["n"] == 8
    assert f"live stages     {told['alive']} of 3" in out
    assert told["lowest_reachable"] <= told["lowest_seen"] <= told["highest_seen"]
    assert told["highest_seen"] <= told["highest_reachable"]
    assert [stage["stage"] for stage in told["stages"]] == [1, 2, 3]


def test_json_alone_on_standard_output(trained: Path, call: Run) -> None:
    arguments = ("--data", "synthetic", "--backend", "numpy", "--faces", 4, "--json", "-")
    code, out, err = call(inspect, trained, *arguments)
    assert code == 0
    assert json.loads(out)["n"] == 4
    assert "live stages" in err


def test_the_summary_needs_no_faces(trained: Path, call: Run) -> None:
    code, out, _ = call(inspect, trained, "--summary")
    assert code == 0
    assert "multiply" not in out
    assert out.splitlines()[-1].startswith("total")
    assert "streams.s.0.conv" in out


def test_a_figure_that_can_not_be_written(trained: Path, tmp_path: Path, call: Run) -> None:
    code, out, err = call(inspect, trained, "--data", "synthetic", "--out", tmp_path / "no" / "x")
    assert code == 3
    assert err.startswith("minissr: could not write")
    assert not out


def test_figures_that_can_not_be_written(trained: Path, tmp_path: Path, call: Run) -> None:
    code, out, err = call(inspect, trained, "--data", "synthetic", "--json", tmp_path / "no" / "x")
    assert code == 3
    assert err.startswith("minissr: could not write")
    assert not out


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, whose sums overflow
def test_a_network_without_an_age_is_not_drawn(trained: Path, tmp_path: Path, call: Run) -> None:
    best = read_checkpoint(trained / "best.safetensors")
    # Finite, or the file would be refused.
    tensors = {name: np.full_like(array, 3e38) for name, array in best.tensors.items()}
    about = {k: v for k, v in best.metadata.items() if k not in ("sha256", "format")}
    (tmp_path / "x.safetensors").write_bytes(pack(tensors, about))
    told = ("--data", "synthetic", "--backend", "numpy", "--faces", 4, "--out", tmp_path / "x.png")
    code, _, err = call(inspect, tmp_path / "x.safetensors", *told)
    assert code == 2
    assert "the network gives no age for 4 of 4 faces" in err
    assert not (tmp_path / "x.png").exists()


def test_a_folder_of_pictures_will_do(trained: Path, pictures: Path, call: Run) -> None:
    code, out, _ = call(inspect, trained, "--data", pictures, "--backend", "numpy")
    assert code == 0
    assert "faces    3 of " in out  # the fourth is broken


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give faces with --data"),
        (("--summary", "--out", "x.png"), "--out and --json tell of faces"),
        (("--summary", "--json", "-"), "--out and --json tell of faces"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", "synthetic", "--faces", "0"), "0 faces; ask for 1 or more"),
        (("--data", "synthetic", "--faces", "1"), "give at least 2"),
        (("--data", "synthetic", "--split", "all"), "--split"),
    ],
)
def test_what_can_not_be_done_is_a_sentence(
    trained: Path, call: Run, arguments: tuple[str, ...], says: str
) -> None:
    code, _, err = call(inspect, trained, *arguments)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1 or err.startswith("minissr")


def test_faces_are_taken_evenly(pictures: Path) -> None:
    assert sample.evenly(list(range(11)), 3) == [0, 5, 10]
    assert sample.evenly([7], 3) == [7]
    faces = sample.sample_faces("synthetic", 4, 32)
    assert faces.shape == (4, 32, 32, 3)
    few = sample.sample_faces(str(pictures / "a.png"), 9, 64)
    np.testing.assert_array_equal(few, draw_faces(1, stream="test")[0])
