"""The synthetic faces: repeatable, disjoint streams, and cues that alone tell the age."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.data import render as renderer
from minissr.data import synthetic
from minissr.data.canvas import Sheet
from minissr.data.people import (
    AGES,
    CUES,
    POPULATION,
    draw_ages,
    draw_chance,
    draw_cues,
    posterior_median,
)
from minissr.data.synthetic import (
    SETTINGS,
    best_possible_mae,
    check_settings,
    draw_faces,
    open_synthetic,
)
from minissr.errors import DataError

# `python -m minissr.train` as it stands, 10 epochs of 5,000 faces, errs by 6.2 years on the test
# faces; the same graph in another framework by 5.4. The bars are set by a worse network than both,
# which makes them higher.
TRAINED_MAE = 7.0
BAR = 1.5 * TRAINED_MAE


def population_median() -> int:
    return int(AGES[np.searchsorted(np.cumsum(POPULATION), 0.5)])


def constant_mae() -> float:
    return float(POPULATION @ np.abs(AGES - population_median()))


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """2,500 training and 1,000 test faces with their ages."""
    images, ages, _ = draw_faces(2500, stream="train", seed=0)
    test_images, test_ages, _ = draw_faces(1000, stream="test")
    return images, ages, test_images, test_ages


@pytest.fixture(scope="module")
def crowd() -> dict[str, np.ndarray]:
    """Latents and ages of 20,000 people."""
    rng = np.random.default_rng(0)
    ages = draw_ages(rng, 20_000)
    return {"age": ages, **draw_cues(rng, ages), **draw_chance(rng, len(ages))}


# What is drawn


def test_shapes_types_and_ranges():
    images, ages, latents = draw_faces(60, stream="train", seed=3)
    assert images.shape == (60, 64, 64, 3)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous
    assert ages.shape == (60,)
    assert ages.dtype == np.float32
    assert np.array_equal(ages, np.round(ages))
    assert 0 <= ages.min() < ages.max() <= 100
    assert list(latents)[: len(CUES)] == list(CUES)
    assert all(len(value) == 60 and np.isfinite(value).all() for value in latents.values())
    spread = images.reshape(60, -1).std(axis=1)
    assert spread.min() > 10  # no face is blank
    assert np.mean((images == 0) | (images == 255)) < 0.1  # nor are many of them over-exposed


def test_a_face_depends_on_its_place_alone():
    images, ages, latents = draw_faces(60, stream="train", seed=1)
    for n in (1, 25, 31):  # within a block, a whole block, into the second
        fewer, fewer_ages, fewer_latents = draw_faces(n, stream="train", seed=1)
        assert np.array_equal(fewer, images[:n])
        assert np.array_equal(fewer_ages, ages[:n])
        assert all(np.array_equal(fewer_latents[name], latents[name][:n]) for name in latents)


def test_no_face_is_drawn_twice():
    drawn = [draw_faces(50, stream="train", seed=seed)[0] for seed in (0, 1, 2, 3)]
    drawn += [draw_faces(50, stream=stream)[0] for stream in ("val", "test")]
    pictures = {image.tobytes() for images in drawn for image in images}
    assert len(pictures) == 50 * len(drawn)


@pytest.mark.parametrize("stream", ["val", "test"])
def test_validation_and_test_faces_are_the_same_for_every_seed(stream):
    images, ages, _ = draw_faces(30, stream=stream)
    for seed in (1, 2**64 - 1):
        again, ages_again, _ = draw_faces(30, stream=stream, seed=seed)
        assert np.array_equal(images, again)
        assert np.array_equal(ages, ages_again)


@given(seed=st.integers(0, 2**64 - 1), block=st.integers(0, 40_000))
def test_no_training_seed_reaches_another_stream(seed, block):
    ours = synthetic._generator(synthetic.STREAMS["train"], seed, block).random(4)
    for stream in (synthetic.STREAMS["val"], synthetic.STREAMS["test"], synthetic.BOUND_STREAM):
        for other in (0, block):
            theirs = synthetic._generator(stream, 0, other).random(4)
            assert not np.intersect1d(ours, theirs).size


def test_progress_counts_every_face():
    seen: list[int] = []
    draw_faces(60, stream="val", progress=seen.append)
    assert sum(seen) == 60
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0, "stream": "train"}, "0 faces; expected at least 1"),
        ({"n": 5, "stream": "dev"}, "'dev'; expected one of train, val, test"),
        ({"n": 5, "stream": "train", "seed": -1}, "seed -1; expected a whole number"),
        ({"n": 5, "stream": "test", "seed": 2**64}, "expected a whole number from 0 to"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_faces(**arguments)


def test_numpy_alone_is_enough():
    program = (
        "import sys\n"
        "for name in ('numba', 'cv2', 'matplotlib', 'tqdm'): sys.modules[name] = None\n"
        "from minissr.data.synthetic import draw_faces\n"
        "print(draw_faces(2, stream='train', seed=0)[0].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "(2, 64, 64, 3)\n", done.stderr


# Who the faces are


def test_every_cue_rises_with_age_and_overlaps(crowd):
    for name, cue in CUES.items():
        assert np.all(np.diff(cue.curve) > 0), name
        assert 0 <= cue.curve.min() < 0.2 < 0.8 < cue.curve.max() <= 1, name
        noise = crowd[name] - cue.curve[crowd["age"]]
        assert abs(noise.mean()) < 0.01, name
        assert noise.std() == pytest.approx(cue.spread, rel=0.03), name
        # One cue alone leaves most of the doubt: the best guess from it errs by years.
        order = np.argsort(crowd[name])
        groups = np.array_split(crowd["age"][order], 100)
        error = np.mean([np.abs(ages - np.median(ages)).mean() for ages in groups])
        assert 5 < error < 0.85 * constant_mae(), name


def test_chance_says_nothing_about_age(crowd):
    limit = 4.5 / np.sqrt(len(crowd["age"]))
    for name, values in crowd.items():
        if name in CUES or name == "age":
            continue
        for column in values.reshape(len(values), -1).T:
            assert abs(np.corrcoef(column, crowd["age"])[0, 1]) < limit, name


# How they are painted


@pytest.fixture(scope="module")
def middle_aged() -> dict[str, np.ndarray]:
    """Latents of 25 faces on which everything shows: half grey, lined, with glasses."""
    rng = np.random.default_rng(5)
    latents = draw_cues(rng, np.full(25, 55)) | draw_chance(rng, 25)
    return latents | {
        "grey": np.full(25, 0.5),
        "wrinkles": np.full(25, 0.6),
        "hairline": np.full(25, 0.2),
        "glasses": np.ones(25),
        "glare": np.full(25, 0.1),
        "noise": np.full(25, 0.01),
    }


def painted(latents: dict[str, np.ndarray], **changed: np.ndarray) -> np.ndarray:
    """Pixels of the faces, float, with the same strands and sensor noise at each call."""
    return renderer.render(latents | changed, np.random.default_rng(9)).astype(float)


@pytest.mark.parametrize("name", list(CUES))
def test_every_cue_can_be_seen(name, middle_aged):
    young = painted(middle_aged, **{name: np.full(25, 0.1)})
    old = painted(middle_aged, **{name: np.full(25, 0.9)})
    change = np.abs(old - young)
    assert (change > 15).any(axis=-1).reshape(25, -1).sum(axis=1).mean() > 20  # pixels of a face


def test_every_other_latent_is_used(middle_aged):
    before = painted(middle_aged)
    for name in draw_chance(np.random.default_rng(0), 1):
        changed = middle_aged[name] * 0.5 + 0.1
        assert not np.array_equal(painted(middle_aged, **{name: changed}), before), name


def test_a_feature_is_painted_whole_on_the_rows_it_is_given(monkeypatch):
    rng = np.random.default_rng(2)
    ages = np.repeat([0, 100], 25)
    latents = draw_cues(rng, ages) | draw_chance(rng, 50)
    latents["tilt"] = rng.choice([-0.35, 0.35], 50)
    blocks = [{name: v[i : i + 5] for name, v in latents.items()} for i in range(0, 50, 5)]
    by_rows = [painted(block) for block in blocks]
    monkeypatch.setattr(Sheet, "rows", lambda sheet, top, bottom: sheet)
    assert all(np.array_equal(a, painted(b)) for a, b in zip(by_rows, blocks, strict=True))


def test_strands_are_uniform():
    strands = renderer._strands(np.random.default_rng(0), 20)
    share, _ = np.histogram(strands, bins=10, range=(0, 1))
    assert share.sum() == strands.size
    assert share / strands.size == pytest.approx(np.full(10, 0.1), abs=0.005)


# The best possible error


def test_posterior_median_is_the_formula():
    rng = np.random.default_rng(1)
    ages = draw_ages(rng, 40)
    cues = draw_cues(rng, ages)
    guesses = posterior_median(cues)
    for i, guess in enumerate(guesses):
        posterior = POPULATION.copy()
        for name, cue in CUES.items():
            posterior *= np.exp(-((cues[name][i] - cue.curve) ** 2) / (2 * cue.spread**2))
        expected_error = np.abs(AGES[:, None] - AGES[None, :]) @ posterior  # of each guess
        assert expected_error[int(guess)] == pytest.approx(expected_error.min(), rel=1e-9)


def test_posterior_median_does_not_depend_on_the_chunk(crowd, monkeypatch):
    whole = posterior_median(crowd)
    monkeypatch.setattr("minissr.data.people.CHUNK", 777)
    assert np.array_equal(posterior_median(crowd), whole)


def test_best_possible_mae_lies_where_it_should(crowd):
    best = best_possible_mae()
    assert 1.5 < best < 0.4 * constant_mae()
    assert best == pytest.approx(np.abs(posterior_median(crowd) - crowd["age"]).mean(), abs=0.1)
    _, ages, latents = draw_faces(100, stream="test")
    assert np.abs(posterior_median(latents) - ages).mean() == pytest.approx(best, abs=1.0)


def test_best_possible_mae_needs_draws():
    with pytest.raises(ValueError, match="0 draws"):
        best_possible_mae(0)


# What does not tell the age


def test_no_brightness_or_colour_statistic_comes_near(faces):
    """Each, with the best guess for each of 30 ranges of it, errs 1.5 times as much as a network.

    More than that: none takes a fifth off the error of a constant.
    Measured at 5,000 training faces: the best of a whole image is the 5 % quantile of blue, 17.7
    years; the best of any part the spread of blue about the mouth, 16.7.
    """
    images, ages, test_images, test_ages = faces
    statistics = colour_statistics(images)
    for name, values in colour_statistics(test_images).items():
        edges = np.quantile(statistics[name], np.linspace(0, 1, 31)[1:-1])
        groups = np.searchsorted(edges, statistics[name])
        overall = np.median(ages)
        guesses = np.array(
            [np.median(ages[groups == g]) if np.any(groups == g) else overall for g in range(30)]
        )
        error = np.abs(guesses[np.searchsorted(edges, values)] - test_ages).mean()
        assert error >= max(BAR, 0.8 * constant_mae()), name


def colour_statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, spread and quantiles of brightness and colour, of the image and of its parts."""
    rgb = images.astype(np.float32) / 255
    red, green, blue = np.moveaxis(rgb, -1, 0)
    light, dark = rgb.max(axis=-1), rgb.min(axis=-1)
    channels = {
        "red": red,
        "green": green,
        "blue": blue,
        "luma": 0.299 * red + 0.587 * green + 0.114 * blue,
        "saturation": (light - dark) / (light + 1e-3),
        "red-green": red - green,
        "yellow-blue": (red + green) / 2 - blue,
    }
    parts = {
        "image": np.s_[:, ::3, ::3],
        "hair": np.s_[:, :20:2, 16:48:2],
        "face": np.s_[:, 20:52:2, 16:48:2],
        "mouth": np.s_[:, 36:52:2, 16:48:2],
    }
    found = {}
    for channel, values in channels.items():
        for part, where in parts.items():
            flat = values[where].reshape(len(images), -1)
            found[f"{channel} of {part}, mean"] = flat.mean(axis=1)
            found[f"{channel} of {part}, spread"] = flat.std(axis=1)
            places = [int(share * flat.shape[1]) for share in (0.05, 0.5, 0.95)]
            ranked = np.partition(flat, places, axis=1)
            for place in places:
                found[f"{channel} of {part}, value of rank {place}"] = ranked[:, place]
    return found


def test_no_linear_model_on_raw_pixels_comes_near(faces):
    """Ridge regression, with the penalty that is best on the test faces themselves.

    Measured: 12.5 years at 5,000 training faces.
    """
    images, ages, test_images, test_ages = faces
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    middle = pixels.mean(axis=0)
    pixels -= middle
    seen = (test_images.reshape(len(test_images), -1).astype(np.float32) / 255 - middle) @ pixels.T
    gram = pixels @ pixels.T  # (2500, 2500): ridge in its dual form
    errors = []
    for penalty in (30.0, 100.0, 300.0):
        regular = gram + penalty * np.eye(len(gram), dtype=np.float32)
        weights = np.linalg.solve(regular, ages - ages.mean())
        errors.append(np.abs(seen @ weights + ages.mean() - test_ages).mean())
    assert (
        BAR <= min(errors) < constant_mae()
    )  # beyond the constant, the fit itself would be broken


# As a data set


def test_open_synthetic():
    settings = {"train_images": 30, "val_images": 3, "test_images": 4}
    seen: list[int] = []
    data = open_synthetic(seed=0, settings=settings, progress=seen.append)
    assert sum(seen) == 37
    assert {name: len(images) for name, (images, _, _) in data["splits"].items()} == {
        "train": 30,
        "val": 3,
        "test": 4,
    }
    for stream, (images, ages, labels) in data["splits"].items():
        expected, expected_ages, _ = draw_faces(len(images), stream=stream, seed=0)
        assert np.array_equal(images, expected)
        assert np.array_equal(ages, expected_ages)
        assert all(values.shape == (len(images),) for values in labels.values())
    assert data["best_possible_mae"] == best_possible_mae()
    assert data["digest"] == open_synthetic(seed=0, settings=settings)["digest"]
    assert data["digest"] != open_synthetic(seed=1, settings=settings)["digest"]


def test_settings_have_defaults():
    assert check_settings(None) == SETTINGS
    assert check_settings({"val_images": 7}) == {**SETTINGS, "val_images": 7}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": 5}, "no setting 'images'; they have train_images, val_images, test_images"),
        ({"train_images": 0}, "train_images is 0; expected a whole number from 1"),
        ({"train_images": -3}, "train_images is -3"),
        ({"test_images": 2.5}, "test_images is 2.5"),
        ({"test_images": "many"}, "test_images is 'many'"),
        ({"val_images": True}, "val_images is True"),
        ({"val_images": 10**9}, "to 1000000"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        open_synthetic(seed=0, settings=settings)
