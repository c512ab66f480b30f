"""Four sources of settings, one set of checks, and a sentence for whatever doesn't pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minissr.data import preprocessing
from minissr.errors import MinissrError
from minissr.models import criterion
from minissr.training import config, optim
from minissr.training.config import TrainConfig, build_config


def test_each_source_is_stronger_than_the_one_before() -> None:
    file = {"epochs": 7, "lr": 0.5, "batch_size": 20, "seed": 3}
    flags = {"lr": "0.25", "batch-size": "30"}
    assigned = {"batch_size": "40"}
    built = build_config(("FILE: ", file), ("--", flags), ("--set ", assigned))
    assert (built.seed, built.epochs, built.lr, built.batch_size) == (3, 7, 0.25, 40)
    assert built.augment == TrainConfig.augment


def test_settings_go_to_the_data_and_the_network() -> None:
    built = build_config(("--set ", {"train_images": "64", "stages": "2,4", "lambda_d": "0.5"}))
    assert built.data_settings == {"train_images": 64}
    assert built.model_settings == {"stages": (2, 4), "lambda_d": 0.5}


def test_a_written_configuration_is_read_back_as_it_was() -> None:
    chosen = {"stages": "2,4", "train_images": "64", "epochs": "3", "slip": "true", "threads": "1"}
    built = build_config(("--set ", chosen)).resolved()
    again = build_config(("FILE: ", json.loads(json.dumps(built.to_json()))))
    assert again == built


def test_what_is_left_open_is_decided_by_the_data(tmp_path: Path) -> None:
    assert TrainConfig().resolved().epochs == config.SYNTHETIC_EPOCHS
    real = TrainConfig(data="faces").resolved()
    assert real.epochs == config.REAL_EPOCHS
    assert Path(real.data).is_absolute()
    assert TrainConfig().resolved().backend in ("numba", "numpy")


def test_a_network_to_start_from_is_a_path_or_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert TrainConfig(init="run").resolved().init == str(tmp_path / "run")
    assert TrainConfig(init="ssrnet-utkface").resolved().init == "ssrnet-utkface"


def test_the_recipe_has_no_places() -> None:
    one = TrainConfig(data="/a", init="/b", threads=1, checkpoint_every=1.0)
    two = TrainConfig(data="/c", init="/d", threads=2, checkpoint_every=2.0)
    assert one.recipe() == two.recipe()
    assert one.recipe() != TrainConfig(data="/a", seed=1).recipe()


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"variant": "minissr"}, []),
        ({"variant": "released", "dropout": 0.0}, ["variant", "dropout"]),
        ({"variant": "minissr", "activation_mix": "tanh", "dropout": 0.1}, ["dropout"]),
        ({"stages": (5, 5), "levels": (4, 2)}, ["stages"]),  # levels of two stages, as usual
        ({"stages": (5, 5), "levels": (2, 1)}, ["stages", "levels"]),
    ],
)
def test_the_recipe_has_of_the_network_what_changes_it(told: dict, kept: list[str]) -> None:
    recipe = TrainConfig(model_settings=told).recipe()
    assert recipe.keys() - TrainConfig().recipe().keys() == set(kept)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("ephocs", "3", "did you mean epochs"),
        ("qqqqq", "3", "--help-set"),
        ("epochs", "0", "from 1 up"),
        ("epochs", "1.5", "from 1 up"),
        ("epochs", "many", "from 1 up"),
        ("epochs", True, "from 1 up"),
        ("batch_size", "1", "from 2 up"),
        ("lr", "0", "above 0"),
        ("lr", "nan", "above 0"),
        ("lr", "1e999", "above 0"),
        ("sgd_momentum", "1", "below 1"),
        ("average", "1", "below 1"),
        ("weight_decay", "-1", "from 0 up"),
        ("warm_up", "-1", "from 0 up"),
        ("loss", "mse", "mae, smooth, distribution"),
        ("label_sigma", "0", "above 0"),
        ("label_sigma", "1e200", "below 1000"),
        ("pixels", "0", "raw, unit, centered"),
        ("schedule", "steep", "step, cosine, constant"),
        ("backend", "cuda", "auto, numpy, numba, cupy"),
        ("model", "resnet", "ssrnet"),
        ("model", 5, "a model's name"),
        ("stages", "3,0", "above 0"),
        ("stages", "3,x", "3,3,3"),
        ("slip", "maybe", "true or false"),
        ("train_images", "-1", "from 1 up"),
        ("seed", "9" * 5000, "from 0 up"),
        ("augment", "", "names as in paper"),
    ],
)
def test_a_value_that_can_not_be_is_named_with_what_could(key: str, value: str, says: str) -> None:
    with pytest.raises((MinissrError, ValueError), match=says) as caught:
        build_config(("--set ", {key: value}))
    assert "\n" not in str(caught.value)


def test_settings_of_synthetic_faces_need_synthetic_faces() -> None:
    with pytest.raises(MinissrError, match="train_images is of the synthetic faces"):
        build_config(("--", {"data": "faces"}), ("--set ", {"train_images": "5"}))


@pytest.mark.parametrize("assignment", ["lr", "lr=", "=3", ""])
def test_assignments_have_two_sides(assignment: str) -> None:
    with pytest.raises(MinissrError, match="expected key=value"):
        config.parse_assignments([assignment])


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "nonsense", "[" * 100_000, "\xff"])
def test_a_config_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(MinissrError, match=str(path)) as caught:
        config.read_config_file(path)
    assert "\n" not in str(caught.value)


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MinissrError, match="can't be read"):
        config.read_config_file(tmp_path / "none.json")


def test_every_key_is_in_the_help() -> None:
    listed = config.describe_keys("ssrnet")
    for key in (*config.fields(), *config.DATA_KINDS, *config.model_kinds("ssrnet")):
        assert f"  {key} " in listed


def test_every_augmentation_is_in_the_help() -> None:
    from minissr.data.augment import CHOICES

    about, expected = (config.fields()["augment"].metadata[key] for key in ("about", "kind"))
    for name in CHOICES:
        assert name in about + expected.expected


def test_no_key_means_two_things() -> None:
    keys = [*config.fields(), *config.DATA_KINDS, *config.model_kinds("ssrnet")]
    assert len(keys) == len(set(keys))


def test_choices_are_those_of_the_parts() -> None:
    from minissr.data.synthetic import SETTINGS
    from minissr.kernels.backend import CHOICES

    assert config.BACKENDS == CHOICES
    assert config.SCHEDULES == optim.SCHEDULES
    assert config.LOSSES == criterion.LOSSES
    assert tuple(preprocessing.PIXELS) == config.PIXELS
    assert config.DATA_KINDS.keys() == SETTINGS.keys()
