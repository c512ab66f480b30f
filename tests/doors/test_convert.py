"""`convert`: from a Keras file to a checkpoint that every other door opens."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr import convert, evaluate, predict
from minissr.errors import CheckpointError
from minissr.models.keras_layouts import every_layout
from minissr.training.checkpoint import read_checkpoint
from minissr.training.small import small_file
from tests.doors.conftest import Run
from tests.models.released import keras_arrays, random_state, write_keras

pytest.importorskip("h5py", reason="h5py reads Keras files: pip install h5py")

LAYOUTS = {layout.kind: layout for layout in every_layout()}
AGE, GENDER = LAYOUTS["SSR-Net for age"], LAYOUTS["SSR-Net for gender"]
NUMPY = ("--backend", "numpy")


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    """A file of an SSR-Net for age, in an otherwise empty folder."""
    write_keras(tmp_path / "age.h5", keras_arrays(AGE, random_state(AGE)))
    return tmp_path / "age.h5"


@pytest.fixture
def gender(tmp_path: Path) -> Path:
    """... and one for gender."""
    write_keras(tmp_path / "gender.h5", keras_arrays(GENDER, random_state(GENDER)), "model")
    return tmp_path / "gender.h5"


def test_the_checkpoint_says_what_the_file_said_and_more(call: Run, keras: Path) -> None:
    out = keras.with_name("x.safetensors")
    code, told, _ = call(convert, keras, "--out", out, "--licence", "Apache-2.0")
    assert code == 0
    assert "SSR-Net for age: 96 arrays, 40,915 numbers" in told
    about = read_checkpoint(out).metadata
    assert about["model"]["max_age"] == 101
    assert about["preprocessing"]["color"] == "bgr"
    assert about["licence"] == "Apache-2.0"
    first = out.read_bytes()
    call(convert, keras, "--out", out, "--licence", "Apache-2.0")
    assert out.read_bytes() == first


@pytest.mark.parametrize("kind", ["SSR-Net for age", "MobileNet, alpha 0.5", "DenseNet, depth 13"])
def test_converted_or_not_the_ages_are_the_same(call: Run, tmp_path: Path, kind: str) -> None:
    layout = LAYOUTS[kind]
    keras, out = tmp_path / "k.h5", tmp_path / "x.safetensors"
    write_keras(keras, keras_arrays(layout, random_state(layout)))
    assert call(convert, keras, "--out", out)[0] == 0
    faces = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    converted = minissr.load(out, backend="numpy")
    ages = converted.predict(faces)
    np.testing.assert_array_equal(minissr.load(keras, backend="numpy").predict(faces), ages)
    from minissr.autograd.function import no_grad

    with no_grad(), minissr.use_backend("numpy"):  # trained on BGR
        np.testing.assert_array_equal(converted.network.model(faces[..., ::-1].copy()).data, ages)


def test_released_ages_through_the_loader(reference_dir: Path, backend: str) -> None:
    """What a user gets, the fused kernel of inference included."""
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"]
    for name in ("ssrnet_imdb", "ssrnet_morph2", "ssrnet_megaface_asian", "ssrnet_imdb_gender"):
        golden = np.load(reference_dir / "goldens" / f"{name}.npz")["out_numpy_f64"][:, 0]
        estimator = minissr.load(reference_dir / "weights" / f"{name}.h5", backend=backend)
        ages = estimator.predict(images[..., ::-1])
        np.testing.assert_allclose(ages, golden, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(estimator.predict(images, colour="bgr"), ages)


@pytest.mark.parametrize(
    ("male", "words"), [([], ("female", "male")), (["--male", 0], ("male", "female"))]
)
def test_gender_is_told_as_gender(
    call: Run, gender: Path, pictures: Path, male: list[object], words: tuple[str, str]
) -> None:
    out = gender.with_name("x.safetensors")
    code, told, _ = call(convert, gender, "--out", out, *male)
    assert code == 0
    assert f"from 0, {words[0]}, to 1, {words[1]}" in told
    assert "left out are 2 arrays of its optimiser" in told
    files = sorted(pictures.glob("?.png"))
    code, told, err = call(predict, *files, "--weights", out, "--csv", "-", *NUMPY)
    assert code == 0
    assert "not age" in err
    for row in csv.DictReader(io.StringIO(told)):
        assert row["age"] == row["raw_age"] == ""
        assert row["gender"] == words[float(row["gender_score"]) >= 0.5]
    _, told, _ = call(predict, *files, "--weights", out, "--explain", *NUMPY)
    assert "years" not in told
    assert told.split()[0] in words
    assert "stage 3" in told
    _, told, _ = call(predict, *files, "--weights", out, "--json", "-", *NUMPY)
    rows = json.loads(told)
    assert all(row["age"] is None and row["gender"] in words for row in rows)


def test_gender_is_not_measured_in_years(call: Run, gender: Path, keras: Path) -> None:
    code, _, err = call(evaluate, gender, "--data", "synthetic", *NUMPY)
    assert code == 2
    assert "tells gender" in err
    small = gender.with_name("small.safetensors")
    network = minissr.load(gender, backend="numpy").network
    small.write_bytes(small_file(network.model.state_dict(), network.about, "float16"))
    assert minissr.load(small, backend="numpy").network.scale == ("female", "male")
    assert minissr.load(keras, backend="numpy").network.scale is None


def test_networks_without_stages_say_so(tmp_path: Path) -> None:
    layout = LAYOUTS["DenseNet, depth 13"]
    write_keras(tmp_path / "d.h5", keras_arrays(layout, random_state(layout)))
    estimator = minissr.load(tmp_path / "d.h5", backend="numpy")
    faces = np.zeros((2, 64, 64, 3), np.uint8)
    for ask in (estimator.health, lambda f: estimator.explain(f[0])):
        with pytest.raises(ValueError, match="DenseNet has no stages"):
            ask(faces)
    assert estimator.age_range == (0.0, 130.0)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["age.h5", "--out", "x.onnx"], 2, "ends in .safetensors"),
        (["nothing.h5", "--out", "x.safetensors"], 3, "no such file"),
        (["age.h5", "--out", "nowhere/x.safetensors"], 3, "could not write"),
        (["age.h5", "--out", "x.safetensors", "--male", "0"], 2, "leave it out"),
        (["age.h5", "--out", "x.safetensors", "--male", "2"], 2, "--male"),
        (["short.h5", "--out", "x.safetensors"], 3, "use another copy"),
        (["age.h5"], 2, "--out"),
    ],
)
def test_nothing_is_left_behind_where_nothing_can_be_written(
    call: Run,
    keras: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(keras.parent)
    Path("short.h5").write_bytes(keras.read_bytes()[:-5000])
    done, _, err = call(convert, *arguments)
    assert done == code
    assert says in err
    assert sorted(path.name for path in keras.parent.iterdir()) == ["age.h5", "short.h5"]


def test_without_h5py_it_says_what_to_install(
    call: Run, keras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    done, _, err = call(convert, keras, "--out", keras.with_name("x.safetensors"))
    assert done == 2
    assert "python -m pip install h5py" in err


def test_a_file_that_is_there_is_kept_if_the_new_one_is_damaged(call: Run, keras: Path) -> None:
    out = keras.with_name("x.safetensors")
    assert call(convert, keras, "--out", out)[0] == 0
    before = out.read_bytes()
    keras.write_bytes(keras.read_bytes()[:-5000])
    assert call(convert, keras, "--out", out)[0] == 3
    assert out.read_bytes() == before
    with pytest.raises(CheckpointError):
        minissr.load(keras)
