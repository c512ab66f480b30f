"""Small files: what they hold, what they cost, and ten lines that read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr import evaluate, export
from minissr.data.synthetic import draw_faces
from minissr.errors import CheckpointError, MinissrError
from minissr.models import registry
from minissr.training import small
from minissr.training.checkpoint import Checkpoint, read_checkpoint
from minissr.training.network import load_network
from tests.doors.conftest import Run


def test_int8_is_within_a_scale_of_every_weight() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 3, 5, 4)).astype(np.float32) * np.float32([1e-6, 1, 0, 1e4])
    whole, scale = small.quantised(w)
    assert whole.dtype == np.int8
    assert whole.min() >= -127
    np.testing.assert_array_equal(np.abs(whole).max(axis=(0, 1, 2)), [127, 127, 0, 127])
    assert (np.abs(whole * scale - w) <= 1.0001 * scale).all()


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 3, 5, 4), (0, 1)), ((3, 3, 1, 6), (0, 1)), ((1, 1, 20, 4), 2), ((90, 3), 0)],
)
def test_the_taps_of_a_window_keep_their_sum(shape: tuple[int, ...], axes: object) -> None:
    w = np.random.default_rng(1).standard_normal(shape)
    whole, scale = small.quantised(w)
    off = (whole * scale.astype(np.float64) - w).sum(axis=axes)  # type: ignore[call-overload]
    assert (np.abs(off) <= 0.5001 * scale).all()


@pytest.mark.parametrize(("kind", "share"), [("int8", 0.40), ("float16", 0.60)])
def test_a_small_file_is_the_network_nearly(tmp_path: Path, kind: str, share: float) -> None:
    model = registry.build("ssrnet", rng=np.random.default_rng(1))
    state = model.state_dict()
    about = {
        "model": model.config(),
        "preprocessing": {"color": "bgr"},
        "data": {"train_median": 31.0, "digest": "x"},
        "training": {"seed": 5},
    }
    data = small.small_file(state, about, kind)
    assert len(data) < share * 4 * model.parameter_count()
    path = tmp_path / "small.safetensors"
    path.write_bytes(data)
    network = load_network(path)
    assert network.preprocessing.color == "bgr"
    assert network.about["data"] == {"train_median": 31.0}
    assert "training" not in network.about
    for name, array in network.model.state_dict().items():
        if array.ndim < 2:
            np.testing.assert_array_equal(array, state[name])
        else:
            step = np.abs(state[name]).max() / (127 if kind == "int8" else 1024)
            most = 1.0001 if kind == "int8" else 0.5001
            assert 0 < np.abs(array - state[name]).max() <= most * step


@pytest.mark.parametrize("kind", small.KINDS)
def test_the_ten_lines_of_the_docstring_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model = registry.build("ssrnet", rng=np.random.default_rng(2))
    about = {"model": model.config(), "preprocessing": {}}
    monkeypatch.chdir(tmp_path)
    Path("small.safetensors").write_bytes(small.small_file(model.state_dict(), about, kind))
    lines = re.findall(r"^    (.*)$", (small.__doc__ or "").split("language:")[1], re.M)
    seen: dict[str, object] = {}
    exec("\n".join(lines), seen)
    assert seen["about"]["model"] == model.config()  # type: ignore[index]
    state = load_network("small.safetensors").model.state_dict()
    weights = seen["weights"]
    assert weights.keys() == state.keys()  # type: ignore[attr-defined]
    for name, array in state.items():
        np.testing.assert_array_equal(weights[name], array)  # type: ignore[index]


def test_what_a_small_file_can_not_hold_is_refused() -> None:
    with pytest.raises(MinissrError, match="w has numbers that aren't finite"):
        small.small_file({"w": np.float32([[1, np.nan]])}, {}, "int8")
    with pytest.raises(MinissrError, match=r"n\.moving_variance has variances below 0"):
        small.small_file({"n.moving_variance": np.float32([1, -1])}, {}, "int8")
    with pytest.raises(MinissrError, match="beyond float16's 65504; use --dtype int8"):
        small.small_file({"w": np.float32([[1, 1e5]])}, {}, "float16")
    with pytest.raises(MinissrError, match="'int4' is none of int8, float16"):
        small.small_file({}, {}, "int4")
    with pytest.raises(CheckpointError, match="kind 'int4'; this version reads int8, float16"):
        small.expanded(Checkpoint({}, {"small": "int4"}))


def test_through_the_doors(trained: Path, tmp_path: Path, call: Run) -> None:
    path = tmp_path / "small.safetensors"
    code, out, _ = call(export, trained, "--small", path, "--licence", "CC0")
    assert code == 0
    assert f"wrote    {path}, {path.stat().st_size:,} bytes of" in out
    about = read_checkpoint(path).metadata
    assert about["licence"] == "CC0"
    assert about["small"] == "int8"
    faces = draw_faces(6, stream="test")[0]
    exact, coarse = (minissr.load(p, backend="numpy").predict(faces) for p in (trained, path))
    assert 0 < np.abs(exact - coarse).max() < 0.5


def test_a_small_file_can_be_opened_and_replaces_no_other(
    trained: Path, tmp_path: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path("net.safetensors")
    source.write_bytes((trained / "best.safetensors").read_bytes())
    before = source.read_bytes()
    Path("link.safetensors").symlink_to(source)
    both = ("--onnx", "x.safetensors", "--small", tmp_path / "x.safetensors")
    for arguments, says in (
        (("--small", "age.h5"), "--small age.h5; expected a name that ends in .safetensors"),
        (("--small", "age"), "--small age; expected a name that ends in .safetensors"),
        (both, "--onnx and --small both name x.safetensors; give each its own file"),
        (("--small", source), "is the network to be exported; name another file"),
        (("--small", "link.safetensors"), "is the network to be exported; name another file"),
        (("--onnx", source), "is the network to be exported; name another file"),
    ):
        code, _, err = call(export, source, *arguments)
        assert code == 2
        assert says in err
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"net.safetensors", "link.safetensors"}


def test_evaluate_reports_the_cost(
    trained: Path, tmp_path: Path, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "minissr.data.synthetic.SETTINGS", {"train_images": 5, "val_images": 5, "test_images": 9}
    )
    path, figures = tmp_path / "small.safetensors", tmp_path / "figures.json"
    assert call(export, trained, "--small", path)[0] == 0
    arguments = ("--data", "synthetic", "--backend", "numpy", "--against", trained)
    code, out, _ = call(evaluate, path, *arguments, "--json", figures)
    assert code == 0
    told = json.loads(figures.read_text())
    against = told["against"]
    assert against["cost"] == pytest.approx(told["mae"] - against["mae"])
    assert 0 < against["mean_difference"] <= against["largest_difference"] < 0.5
    assert f"a cost of {against['cost']:+.3f} years" in out
    same = call(evaluate, trained, *arguments)[1]
    assert "a cost of +0.000 years\nages differ by 0.000 years on average, 0.00 at most" in same
