"""Who the synthetic faces are: their ages, the cues of age, chance, and the best guess of all.

A person is drawn in three steps.

1. The **age** is a whole number of years from 0 to 100, from a population with as many children as
   middle-aged people and ever fewer old ones (`POPULATION`).
2. The **cues** follow the age, each by a curve of its own, with noise of its own (`CUES`):

       cue_j = curve_j(age) + spread_j z_j,     z_j standard normal, independent

   Curves rise, within 0..1. Bones grow until twenty, hair greys after forty, noses grow all life
   long: cues overlap, each is blind to some ages, and none is exact.
3. All else is **chance** (`draw_chance`), independent of age and loud on purpose: the colours of
   skin, hair, eyes and clothes, expression, glasses, pose, light, background, focus, noise. Blond
   hair is as bright as grey hair, dark skin in the sun as fair skin in the shade: brightness and
   colour don't tell the age. Shapes and textures do.

**The best possible error.** Given the cues c of a face, its age has the posterior

    P(age | c)  proportional to  P(age) prod_j exp(-(c_j - curve_j(age))^2 / (2 spread_j^2)),

exactly: ages are whole years, and chance does not depend on them. The guess with the least
expected absolute error is the posterior's median. Its error over many draws (`best_possible_mae` of
`minissr.data.synthetic`) bounds from below the error of any network: pixels know the cues only
through a small and noisy picture, which also cuts some off (hair can't be more than wholly grey).
It is 2.54 years; always guessing the population's median, 34, costs 18.52.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Array = np.ndarray

AGES = np.arange(101)  # years
CHUNK = 10_000  # faces whose posteriors are held at once: 8 MB


def _growth(years: float) -> Array:
    """Fast at first, done after about 2.5 times `years`: bones. (101,)"""
    return 1.0 - np.exp(-AGES / years)


def _onset(centre: float, width: float) -> Array:
    """A change around the age `centre`, most of it within 2 `width` years. (101,)"""
    return 1.0 / (1.0 + np.exp(-(AGES - centre) / width))


class Cue(NamedTuple):
    """How a feature follows age: its mean at each age (101,), and its standard deviation."""

    curve: Array
    spread: float


# fmt: off
CUES = {
    "face_length": Cue(_growth(8.0),          0.12),
    "eye_line":    Cue(_growth(10.0),         0.12),
    "eye_size":    Cue(_growth(12.0),         0.12),
    "brows":       Cue(_onset(10.0, 4.0),     0.20),
    "cheeks":      Cue(_onset(25.0, 9.0),     0.15),
    "nose":        Cue(AGES / 100.0,          0.18),
    "lips":        Cue(AGES / 100.0,          0.22),
    "hairline":    Cue(_onset(50.0, 13.0),    0.16),
    "wrinkles":    Cue(_onset(52.0, 11.0),    0.12),
    "grey":        Cue(_onset(55.0, 8.0),     0.12),
    "sag":         Cue((AGES / 100.0) ** 1.5, 0.14),
}
# fmt: on
# As many at each age up to about fifty, half as many at 68, few beyond ninety.
POPULATION = 1.0 - _onset(68.0, 8.0)
POPULATION /= POPULATION.sum()  # (101,)

SKIN = np.array(
    [
        [0.95, 0.80, 0.71],
        [0.88, 0.69, 0.55],
        [0.76, 0.55, 0.41],
        [0.57, 0.39, 0.28],
        [0.36, 0.24, 0.17],
    ]
)  # from fair to dark, RGB
HAIR = np.array(
    [
        [0.07, 0.06, 0.06],
        [0.20, 0.14, 0.10],
        [0.38, 0.26, 0.16],
        [0.60, 0.44, 0.26],
        [0.84, 0.71, 0.47],
        [0.90, 0.83, 0.66],
        [0.52, 0.25, 0.14],
    ]
)  # black, three browns, two blonds, red
IRIS = np.array([[0.25, 0.15, 0.08], [0.35, 0.50, 0.65], [0.35, 0.45, 0.28], [0.15, 0.09, 0.06]])


def draw_ages(rng: np.random.Generator, n: int) -> Array:
    """Ages of n people, whole years, (n,)."""
    return rng.choice(AGES, n, p=POPULATION)


def draw_cues(rng: np.random.Generator, ages: Array) -> dict[str, Array]:
    """The cues of people of these ages (n,): a dict of (n,), in the order of `CUES`."""
    return {
        name: cue.curve[ages] + cue.spread * rng.standard_normal(len(ages))
        for name, cue in CUES.items()
    }


def posterior_median(latents: Mapping[str, Array]) -> Array:
    """The guess of the age with the least expected absolute error, given the drawn cues.

    Parameters
    ----------
    latents : dict that holds at least every cue, each (n,); others are ignored

    Returns
    -------
    ndarray (n,), whole years: the first age at which the posterior's sum reaches one half

    Notes
    -----
    With precisions 1 / spread^2, the logarithm of the likelihood at age a is, up to a constant,
    sum_j precision_j (c_j curve_j(a) - curve_j(a)^2 / 2): one matrix product for all of them.
    """
    cues = np.stack([latents[name] for name in CUES], axis=1)  # (n, cues)
    curves = np.stack([cue.curve for cue in CUES.values()])  # (cues, 101)
    precision = np.array([cue.spread**-2.0 for cue in CUES.values()])  # (cues,)
    at_age = np.log(POPULATION) - 0.5 * precision @ np.square(curves)  # (101,)
    guesses = np.empty(len(cues))
    for start in range(0, len(cues), CHUNK):
        logarithm = (cues[start : start + CHUNK] * precision) @ curves + at_age  # (chunk, 101)
        posterior = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
        total = np.cumsum(posterior, axis=1)
        reached = total >= 0.5 * total[:, -1:]
        guesses[start : start + CHUNK] = AGES[np.argmax(reached, axis=1)]
    return guesses


def draw_chance(rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Everything about n faces that has nothing to do with age: (n,) each, colours (n, 3).

    Lengths are in the units of the head (its half-width or half-height is 1), shifts and sizes in
    image units (the image is 2 wide), angles in radians, colours and light in 0..1.
    """

    def uniform(low: float, high: float) -> Array:
        return rng.uniform(low, high, n)

    def normal(spread: float, limit: float) -> Array:
        return np.clip(rng.normal(0.0, spread, n), -limit, limit)

    def colour(saturation: float) -> Array:
        rgb = rng.random((n, 3))
        grey = rgb.mean(axis=1, keepdims=True)
        return grey + saturation * (rgb - grey)

    def about(rgb: Array, brightness: float, hue: float) -> Array:
        jitter = rng.normal(1.0, brightness, (n, 1)) * rng.normal(1.0, hue, (n, 3))
        return np.clip(rgb * jitter, 0.02, 1.0)

    tone = uniform(0.0, len(SKIN) - 1.001)
    lower, rest = tone.astype(int), (tone % 1.0)[:, None]
    angle = 2.0 * np.pi
    return {
        "skin": about(SKIN[lower] * (1.0 - rest) + SKIN[lower + 1] * rest, 0.05, 0.03),
        "hair": about(HAIR[rng.integers(0, len(HAIR), n)], 0.12, 0.06),
        "grey_tone": about(uniform(0.4, 0.95)[:, None], 0.0, 0.02),
        "hair_contrast": uniform(0.2, 0.7),
        "hair_length": uniform(0.0, 1.0),
        "hair_volume": uniform(0.0, 1.0),
        "hairline_shape": uniform(0.0, 0.3),
        "parting": uniform(-0.25, 0.25),
        "iris": about(IRIS[rng.integers(0, len(IRIS), n)], 0.1, 0.05),
        "gaze": uniform(-0.3, 0.3),
        "brow_height": uniform(-0.5, 0.8),
        "brow_tilt": uniform(-0.2, 0.15),
        "blush": uniform(0.0, 0.35),
        "smile": uniform(-0.4, 1.0),
        "mouth_open": uniform(-1.0, 1.0),
        "wrinkle_phase": uniform(0.0, angle),
        "wrinkle_waves": uniform(28.0, 40.0),
        "wrinkle_bend": uniform(-3.0, 3.0),
        "glasses": (rng.random(n) < 0.25).astype(np.float64),
        "rim": about(colour(0.7) * 0.6, 0.0, 0.0),
        "rim_width": uniform(0.26, 0.36),
        "rim_height": uniform(0.16, 0.25),
        "rim_thickness": uniform(0.012, 0.04),
        "glare": uniform(0.0, 0.25),
        "tilt": normal(0.12, 0.35),
        "turn": normal(0.12, 0.30),
        "shift_x": normal(0.07, 0.18),
        "shift_y": normal(0.07, 0.18),
        "size": uniform(0.60, 0.80),
        "background_first": colour(0.7),
        "background_second": colour(0.7),
        "background_angle": uniform(0.0, angle),
        "background_waves": uniform(0.5, 8.0),
        "background_phase": uniform(0.0, angle),
        "clothes": colour(0.8),
        "light_angle": uniform(0.0, angle),
        "light_strength": uniform(0.05, 0.45),
        "exposure": np.exp(normal(0.2, 0.4) - 0.1),
        "tint": rng.normal(1.0, 0.06, (n, 3)),
        "haze": uniform(0.0, 0.2),
        "blur": uniform(0.0, 0.35),
        "noise": uniform(0.01, 0.04),
    }
