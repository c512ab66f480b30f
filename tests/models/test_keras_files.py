"""Keras files: every kind and flavour is read to the last array; what isn't whole is refused."""

from __future__ import annotations

import random
import re
import zipfile

import numpy as np
import pytest

from minissr import no_grad, use_backend
from minissr.errors import CheckpointError
from minissr.models import keras_files, registry
from minissr.models.keras_files import read_keras
from minissr.models.keras_layouts import every_layout, recognise
from tests.models.released import keras_arrays, random_state, write_keras

h5py = pytest.importorskip("h5py", reason="h5py reads Keras files: pip install h5py")

LAYOUTS = {layout.kind: layout for layout in every_layout()}
# The kinds that are published; SHORT is the one with the fewest numbers.
KINDS = (
    "SSR-Net for age",
    "SSR-Net for gender",
    "MobileNet, alpha 0.25",
    "MobileNet, alpha 0.5",
    "DenseNet, depth 13",
    "DenseNet, depth 19",
)
SHORT = LAYOUTS["SSR-Net for age"]


@pytest.fixture
def arrays():
    return keras_arrays(SHORT, random_state(SHORT))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.h5"


@pytest.mark.parametrize("flavour", ["weights", "model"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_and_flavour_comes_in_whole(file, kind, flavour):
    layout = LAYOUTS[kind]
    state = random_state(layout)
    write_keras(file, keras_arrays(layout, state), flavour)
    found = read_keras(file)
    assert found.layout == layout
    assert found.left_out == (2 if flavour == "model" else 0)
    model = registry.build(**found.layout.model)
    model.load_state_dict(found.state)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_shapes_are_those_of_the_released_files(reference_dir, kind):
    """What the tests write is laid out as the lists of the published files say."""
    heading = {
        "SSR-Net for age": "## SSR_net (age)",
        "SSR-Net for gender": "## SSR_net_general",
        "MobileNet, alpha 0.25": "## MobileNet_reg alpha=0.25",
        "MobileNet, alpha 0.5": "## MobileNet_reg alpha=0.5",
        "DenseNet, depth 13": "## DenseNet_reg depth 13",
        "DenseNet, depth 19": "## DenseNet_reg depth 19",
    }[kind]
    text = (reference_dir / "WEIGHTS.md").read_text()
    section = text[text.index(heading) :].partition("\n## ")[0]
    listed = set()
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and "datasets" not in cells[2] and "/" in cells[2]:
            for entry in cells[2].replace("), ", ")\n").splitlines():
                name, _, shape = entry.partition(" ")
                listed.add((f"{cells[1]}/{name}", shape.replace(" ", "")))
    written = keras_arrays(LAYOUTS[kind], random_state(LAYOUTS[kind]))
    ours = {(name, str(array.shape).replace(" ", "")) for name, array in written.items()}
    assert ours == listed


def test_the_spelling_of_keras_3_is_understood(file):
    layout = LAYOUTS["MobileNet, alpha 0.25"]
    state = random_state(layout)
    arrays = {
        name.removesuffix(":0").replace("depthwise_kernel", "kernel"): array
        for name, array in keras_arrays(layout, state).items()
    }
    write_keras(file, arrays)
    found = read_keras(file)
    assert found.layout == layout
    name = "blocks.3.depthwise.conv.w"
    np.testing.assert_array_equal(found.state[name], state[name])


def renamed(name: str, first: dict[str, int], inner: str) -> str:
    """A name as Keras gives it where other layers were counted before."""

    def recounted(found: re.Match[str]) -> str:
        number = int(found[2]) - 1 + first[found[1]]
        return f"{found[1]}_{number}" if number else found[1]

    name = re.sub("(conv2d|batch_normalization|dense)_([0-9]+)(?=/)", recounted, name)
    return re.sub("^(densenet|mobilenet_[0-9.]+_64)(?=/)", inner, name)


@pytest.mark.parametrize(
    ("first", "inner"),
    [
        ({"conv2d": 15, "batch_normalization": 9, "dense": 10}, "model_1"),
        ({"conv2d": 0, "batch_normalization": 0, "dense": 0}, "mobilenet_0.25_64"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_wherever_counting_began(file, kind, first, inner):
    """The second network of a program, and TensorFlow's numbers; MobileNets by their shapes."""
    layout = LAYOUTS[kind]
    state = random_state(layout)
    arrays = {renamed(n, first, inner): a for n, a in keras_arrays(layout, state).items()}
    write_keras(file, arrays)
    found = read_keras(file)
    assert found.layout == layout
    for name, array in state.items():
        np.testing.assert_array_equal(found.state[name], array, err_msg=name)


def test_one_layer_counted_twice_is_refused(file, arrays):
    for leaf in ("kernel:0", "bias:0"):
        arrays[f"conv2d_01/conv2d_01/{leaf}"] = arrays[f"conv2d_1/conv2d_1/{leaf}"]
    write_keras(file, arrays)
    assert "unknown conv2d_01/conv2d_01/kernel" in refused(file)


def test_other_floats_are_rounded_to_ours(file, arrays):
    write_keras(file, {name: array.astype(">f8") for name, array in arrays.items()})
    state = read_keras(file).state
    np.testing.assert_array_equal(state["streams.x.0.conv.w"], arrays["conv2d_1/conv2d_1/kernel:0"])


def test_each_depthwise_kernel_is_turned_and_nothing_else(file):
    layout = LAYOUTS["MobileNet, alpha 0.25"]
    state = random_state(layout)
    arrays = keras_arrays(layout, state)
    kernel = arrays["mobilenet_0.25_64/conv_dw_1/depthwise_kernel:0"]
    assert kernel.shape == (3, 3, 8, 1)
    write_keras(file, arrays)
    found = read_keras(file).state["blocks.0.depthwise.conv.w"]
    np.testing.assert_array_equal(found[:, :, 0, 5], kernel[:, :, 5, 0])


@pytest.mark.parametrize(
    "weights",
    "ssrnet_imdb ssrnet_morph2 ssrnet_megaface_asian ssrnet_imdb_gender mobilenet_imdb "
    "densenet_imdb".split(),
)
def test_the_released_files(reference_dir, weights):
    found = read_keras(reference_dir / "weights" / f"{weights}.h5")
    told = {
        "ssrnet_imdb_gender": "SSR-Net for gender",
        "mobilenet_imdb": "MobileNet, alpha 0.25",
        "densenet_imdb": "DenseNet, depth 19",
    }
    assert found.layout.kind == told.get(weights, "SSR-Net for age")
    assert found.left_out == 0


# ---- what isn't whole ---------------------------------------------------------------------------


def refused(file) -> str:
    """The sentence that a file is refused with."""
    with pytest.raises(CheckpointError) as told:
        read_keras(file)
    message = str(told.value)
    assert str(file) in message
    assert "\n" not in message
    return message


def test_everything_that_does_not_fit_is_in_one_message(file, arrays):
    del arrays["conv2d_3/conv2d_3/kernel:0"], arrays["delta_s2/delta_s2/bias:0"]
    arrays["dense_1/dense_1/kernel:0"] = np.zeros((160, 4), np.float32)
    arrays["dense_2/dense_2/bias:0"] = np.zeros(3, np.int32)
    arrays["dense_10/dense_10/bias:0"] = np.zeros(3, np.float32)
    write_keras(file, arrays)
    message = refused(file)
    for part in (
        "not a whole SSR-Net for age",
        "missing conv2d_3/conv2d_3/kernel",
        "missing delta_s2/delta_s2/bias",
        "unknown dense_10/dense_10/bias",
        "dense_1/dense_1/kernel is (160, 4) instead of (160, 3)",
        "dense_2/dense_2/bias holds int32 instead of floats",
    ):
        assert part in message


def test_another_network_is_named_by_its_layers(file):
    write_keras(
        file,
        {
            "block1_conv1/block1_conv1/kernel:0": np.zeros((3, 3, 3, 64), np.float32),
            "fc1000/fc1000/bias:0": np.zeros(1000, np.float32),
        },
    )
    message = refused(file)
    assert "block1_conv1, fc1000" in message
    assert "SSR-Net" in message
    assert recognise([]) is None
    write_keras(file, {})
    assert "it holds no array" in refused(file)


def test_a_mix_of_two_networks_is_refused(file, arrays):
    gender = LAYOUTS["SSR-Net for gender"]
    arrays |= keras_arrays(gender, random_state(gender))
    write_keras(file, arrays)
    assert "unknown pred_" in refused(file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_numbers_that_no_training_leaves_are_refused(file, arrays, value):
    name = "batch_normalization_3/batch_normalization_3/moving_variance:0"
    arrays[name] = arrays[name] + 0
    arrays[name][5] = value
    write_keras(file, arrays)
    assert name.removesuffix(":0") in refused(file)


def test_links_to_elsewhere_are_not_followed(file, arrays, tmp_path):
    name = "conv2d_1/conv2d_1/bias:0"
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as other:
        other["bias"] = arrays[name]
    for link in (
        h5py.ExternalLink(secret, "/bias"),
        h5py.SoftLink("/conv2d_2/conv2d_2/bias:0"),
    ):
        write_keras(file, {k: v for k, v in arrays.items() if k != name})
        with h5py.File(file, "a") as edited:
            edited[name] = link
        assert "leads elsewhere from conv2d_1/conv2d_1/bias:0" in refused(file)


def test_numbers_kept_in_another_file_are_not_read(file, arrays, tmp_path):
    name, raw = "conv2d_1/conv2d_1/bias:0", tmp_path / "numbers.raw"
    raw.write_bytes(arrays[name].tobytes())
    write_keras(file, {k: v for k, v in arrays.items() if k != name})
    with h5py.File(file, "a") as edited:
        edited.create_dataset(name, (32,), "f4", external=[(str(raw), 0, 128)])
    assert "keeps its numbers in another file" in refused(file)
    with h5py.File(file, "a") as edited:
        del edited[name]
        virtual = h5py.VirtualLayout((32,), "f4")
        virtual[:] = h5py.VirtualSource(str(file), "conv2d_2/conv2d_2/bias:0", (32,))
        edited.create_virtual_dataset(name, virtual)
    assert "keeps its numbers in another file" in refused(file)


def test_one_array_under_two_names_and_circles_are_refused(file, arrays):
    write_keras(file, arrays)
    with h5py.File(file, "a") as edited:
        edited["conv2d_1/around"] = edited["conv2d_1"]
    assert "under two names" in refused(file)
    arrays.pop("conv2d_1/conv2d_1/bias:0")
    write_keras(file, arrays)
    with h5py.File(file, "a") as edited:
        edited["conv2d_1/conv2d_1/bias:0"] = edited["conv2d_2/conv2d_2/bias:0"]
    assert "under two names" in refused(file)


def test_a_huge_declared_shape_costs_nothing(file, arrays):
    name = "conv2d_1/conv2d_1/kernel:0"
    write_keras(file, {k: v for k, v in arrays.items() if k != name})
    with h5py.File(file, "a") as edited:
        edited.create_dataset(name, (1 << 20, 1 << 20, 1 << 10), "f4", chunks=(1, 1, 16))
    assert "(1048576, 1048576, 1024) instead of (3, 3, 3, 32)" in refused(file)


def test_a_huge_piece_of_a_small_array_is_not_unpacked(file, arrays):
    name = "conv2d_1/conv2d_1/bias:0"
    write_keras(file, {k: v for k, v in arrays.items() if k != name})
    with h5py.File(file, "a") as edited:
        edited.create_dataset(
            name, (32,), "f4", chunks=(1 << 28,), maxshape=(None,), compression="gzip"
        )
    assert "comes in pieces of 268,435,456" in refused(file)


def test_arrays_without_numbers_and_python_objects_are_refused(file, arrays):
    name = "conv2d_1/conv2d_1/bias:0"
    write_keras(file, {k: v for k, v in arrays.items() if k != name})
    with h5py.File(file, "a") as edited:
        edited.create_dataset(name, (32,), "f4")
    assert "declared but never written" in refused(file)
    for kind in (h5py.string_dtype(), h5py.ref_dtype, np.dtype([("a", "f4")]), np.complex64):
        with h5py.File(file, "a") as edited:
            del edited[name]
            edited.create_dataset(name, (32,), kind)
        assert f"{name.removesuffix(':0')} holds" in refused(file)


def test_too_many_arrays_are_not_looked_through(file, arrays, monkeypatch):
    write_keras(file, arrays)
    monkeypatch.setattr(keras_files, "OBJECT_LIMIT", 50)
    assert "more groups and arrays" in refused(file)
    monkeypatch.setattr(keras_files, "FILE_LIMIT", 1000)
    assert "at most 1,000" in refused(file)


def test_names_from_the_file_do_not_move_the_cursor(file, arrays):
    arrays["evil\x1b[2J\n/evil/kernel:0"] = np.zeros(3, np.float32)
    write_keras(file, arrays)
    assert "unknown evil\\x1b[2J\\n/evil/kernel" in refused(file)


def test_what_is_no_keras_file(file, tmp_path):
    assert "no such file" in refused(file)
    file.write_bytes(b"")
    assert "is not an HDF5 file" in refused(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "Keras 3 archive" in refused(file)
    assert "is not an ordinary file" in refused(tmp_path)


def test_a_file_cut_short_anywhere_is_refused(file, arrays):
    write_keras(file, arrays)
    data = file.read_bytes()
    for length in (8, 9, 50, 96, 2048, len(data) // 2, len(data) - 1000, len(data) - 1):
        file.write_bytes(data[:length])
        assert "use another copy" in refused(file)


def test_altered_bytes_give_a_sentence_or_a_whole_network(file, arrays):
    """No traceback, no crash: 300 files with one byte of their structure changed."""
    write_keras(file, arrays)
    data = file.read_bytes()
    numbers = np.zeros(len(data), bool)
    with h5py.File(file) as whole:
        for name in arrays:
            item = whole[name].id
            numbers[item.get_offset() :][: item.get_storage_size()] = True
    structure = np.flatnonzero(~numbers).tolist()
    expected, rng, refusals = read_keras(file).state, random.Random(0), []
    for _ in range(300):
        altered = bytearray(data)
        altered[rng.choice(structure)] ^= rng.randrange(1, 256)
        file.write_bytes(altered)
        try:
            state = read_keras(file).state
        except CheckpointError as error:
            refusals.append(str(error))
        else:
            assert set(state) == set(expected)
    assert len(refusals) > 20
    assert not any("\n" in sentence for sentence in refusals)


# ---- agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights", ["ssrnet_imdb", "ssrnet_morph2", "ssrnet_megaface_asian", "ssrnet_imdb_gender"]
)
def test_ages_and_parts_agree_with_keras(reference_dir, weights, backend):
    """In the float32 that users get, on both backends."""
    found = read_keras(reference_dir / "weights" / f"{weights}.h5")
    model = registry.build(**found.layout.model)
    model.load_state_dict(found.state)
    model.eval()
    images = np.load(reference_dir / "goldens" / "inputs.npz")["x_u8_bgr"]
    golden = np.load(reference_dir / "goldens" / f"{weights}.npz")
    with use_backend(backend), no_grad():
        ages, parts = model(images).data, model.explain(images)["stages"]
    np.testing.assert_allclose(ages, golden["out_keras_f32"][:, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(ages, golden["out_numpy_f64"][:, 0], rtol=0, atol=1e-4)
    for k, stage in enumerate(parts, 1):
        for part in ("p", "eta", "delta"):
            seen = stage[part].reshape(len(images), -1)
            np.testing.assert_allclose(seen, golden[f"{part}{k}_f64"], rtol=0, atol=1e-5)
