"""Pictures of the synthetic faces: from the latent numbers of a face to its 64x64 pixels.

A face is painted back to front, like a paper collage: background, hair behind the head, clothes,
ears, head, wrinkles, features, light, hair in front, glasses; then it is photographed: exposure,
focus, sensor noise, 8 bits. Only NumPy is needed.

`minissr.data.synthetic` says how the latents are drawn and how the age cues among them follow age.
Here is what each does to a face:

| cue           | 0                           | 1                                           |
|---------------|-----------------------------|---------------------------------------------|
| `face_length` | a round head                | a long one, of the same area                |
| `eye_line`    | eyes low, a large forehead  | eyes half-way up                            |
| `eye_size`    | large eyes                  | small ones                                  |
| `brows`       | thin, faint brows           | thick ones                                  |
| `cheeks`      | full cheeks                 | hollow cheeks, a narrow jaw                 |
| `nose`        | a small nose, small ears    | a long and wide nose, large ears            |
| `lips`        | full lips                   | thin lips                                   |
| `hairline`    | hair over the forehead      | bald but for the sides, from the temples on |
| `wrinkles`    | smooth skin                 | deep lines                                  |
| `grey`        | every strand its own colour | every strand grey                           |
| `sag`         | firm skin                   | jowls, bags, heavy lids, blotches           |

Cues may leave 0..1. What cannot be shown beyond them (more than all strands grey) is cut off.
"""

from __future__ import annotations

import numpy as np

from minissr.data.canvas import SIZE, Array, Sheet, X, Y, bump, cover, paint, shade

LIPS = (0.62, 0.22, 0.25)
INSIDE_MOUTH = (0.25, 0.07, 0.08)
EYE_WHITE = (0.86, 0.85, 0.83)
PUPIL = (0.05, 0.05, 0.06)
GLARE = (0.80, 0.85, 0.90)


def render(latents: dict[str, Array], rng: np.random.Generator) -> Array:
    """Paint a block of faces.

    Parameters
    ----------
    latents : dict of ndarray (B,), or (B, 3) for colours
    rng : what hair strands and sensor noise are drawn from

    Returns
    -------
    ndarray (B, 64, 64, 3), uint8, RGB
    """
    # A long head and a round one have the same area: how much of the crop a face fills says
    # nothing about age.
    ratio = np.maximum(1.06 + 0.36 * latents["face_length"], 0.95)
    half_width = latents["size"] / np.sqrt(ratio)
    half_height = latents["size"] * np.sqrt(ratio)
    sheet = Sheet(latents, half_width, half_height, _strands(rng, len(ratio)))
    hair = _hair(sheet)
    _background(sheet)
    _behind(sheet, hair)
    head = _head(sheet)
    _wrinkles(sheet, head)
    _bags_and_blotches(sheet, head)
    _eyes(sheet)
    _brows(sheet)
    _nose(sheet)
    _mouth(sheet)
    _light(sheet)
    _front_hair(sheet, hair)
    _glasses(sheet)
    return _photograph(sheet, rng)


def _eye_height(sheet: Sheet) -> Array:
    """Height of the eyes in the head, q, (B, 1, 1): a child's lie low."""
    return 0.28 - 0.26 * sheet["eye_line"]


def _nose_height(sheet: Sheet) -> Array:
    """Height of the nostrils, q, (B, 1, 1)."""
    return _eye_height(sheet) + 0.24 + 0.18 * sheet["nose"]


def _strands(rng: np.random.Generator, count: int) -> Array:
    """Streaky noise (count, 64, 64), uniform on 0..1: hair, strand by strand.

    Each pixel is mixed with the one below it, so strands run down. A sum t of two uniforms has a
    triangular density; its distribution function, t^2 / 2 below 1 and 1 - (2 - t)^2 / 2 above,
    makes it uniform again, so that a share g of the strands lies below g.
    """
    noise = rng.random((count, SIZE + 1, SIZE), dtype=np.float32)
    from_middle = noise[:, :-1] + noise[:, 1:]
    from_middle -= 1.0
    size = np.abs(from_middle)
    return 0.5 + from_middle * (1.0 - 0.5 * size)  # both halves of the function in one formula


def _hair(sheet: Sheet) -> Array:
    """Colour of the hair at every pixel, (3, B, 64, 64): salt and pepper, then all grey.

    Grey hair has lost its colour, not gained brightness: white among blond, steel among black,
    or darker than the blond it replaces.
    """
    share = np.clip(1.12 * sheet["grey"] - 0.10, 0.0, 1.0)  # nobody sees the first grey strands
    turned = (share - sheet.strands) * 6.0 + share
    np.clip(turned, 0.0, 1.0, out=turned)
    sheen = 1.0 + sheet["hair_contrast"] * (sheet.strands - 0.5)
    colour = np.empty_like(sheet.canvas)
    for plane, own, grey in zip(colour, sheet["hair"], sheet["grey_tone"], strict=True):
        np.multiply(turned, grey - own, out=plane)
        plane += own
        plane *= sheen
    return colour


def _background(sheet: Sheet) -> None:
    """Two colours that wave into each other in any direction, at any width."""
    angle, waves = sheet["background_angle"], sheet["background_waves"]
    mix = np.sin((np.cos(angle) * X + np.sin(angle) * Y) * waves + sheet["background_phase"])
    first, second = sheet["background_first"], sheet["background_second"]
    for plane, one, other in zip(sheet.canvas, first, second, strict=True):
        np.multiply(mix, 0.5 * (other - one), out=plane)
        plane += 0.5 * (one + other)


def _behind(sheet: Sheet, hair: Array) -> None:
    """What the head overlaps: hair, neck, clothes, ears."""
    p, q = sheet.p, sheet.q
    length, volume, skin = sheet["hair_length"], sheet["hair_volume"], sheet["skin"]
    width = 1.05 + 0.14 * volume
    mass = sheet.oval(p, q + 0.12, width, 0.94 + 0.10 * volume)
    curtain = sheet.half_width * (width + 0.04 * volume - np.abs(p))
    np.minimum(curtain, sheet.half_height * (q + 0.1), out=curtain)
    np.maximum(mass, curtain, out=mass)
    # Hair ends above the ears or on the shoulders; a receding hairline also lowers its top.
    np.minimum(mass, sheet.half_height * (1.6 * length - 0.05 - q), out=mass)
    bald = np.clip(sheet["hairline"], 0.0, 1.0)
    np.minimum(mass, sheet.half_height * (q + 1.25 - 0.6 * bald), out=mass)
    paint(sheet.canvas, cover(mass), hair)

    low = sheet.rows(0.3, 4.0)
    neck = np.minimum(low.half_width * (0.5 - np.abs(low.p)), low.half_height * (low.q - 0.4))
    paint(low.canvas, cover(neck), skin * 0.8)
    collar = low.half_height * (low.q - 1.22 + 0.22 * bump(low.p * 0.7))
    paint(low.canvas, cover(collar), sheet["clothes"])

    ear_q = _eye_height(sheet) + 0.16
    beside = sheet.rows(ear_q - 0.35, ear_q + 0.35)
    width = 0.11 + 0.10 * sheet["nose"]
    ears = beside.oval(np.abs(beside.p) - 1.0, beside.q - ear_q, np.maximum(width, 0.05), 0.2)
    paint(beside.canvas, cover(ears) * (length < 0.5), skin * 0.9)


def _head(sheet: Sheet) -> Array:
    """The head, and its outline (B, 64, 64): full cheeks, then hollow ones, jowls at last."""
    lower = np.maximum(sheet.q - 0.1, 0.0)
    width = np.square(lower)
    width *= -(0.02 + 0.26 * sheet["cheeks"])
    width += 1.0
    width += 0.16 * np.clip(sheet["sag"], 0.0, 1.2) * bump((sheet.q - 0.72) * (1 / 0.35))
    head = cover(sheet.oval(sheet.p / width, sheet.q, 1.0, 1.0))
    paint(sheet.canvas, head, sheet["skin"])
    part = sheet.rows(0.15, 0.75)
    blush = bump((part.side - 0.55) * (1 / 0.38)) * bump((part.q - 0.45) * (1 / 0.3))
    paint(part.canvas, blush * sheet["blush"], LIPS)
    return head


def _wrinkles(sheet: Sheet, head: Array) -> None:
    """Lines of the forehead, crow's feet, creased cheeks and the folds beside the mouth.

    All but the folds are waves of random phase, with dark and light halves: over many faces their
    mean is 0, no pixel is darker than the next, and only the contrast grows with age.
    """
    q, side, phase = sheet.q, sheet.side, sheet["wrinkle_phase"]
    depth = np.clip(sheet["wrinkles"], 0.0, 1.3)

    height = q - _eye_height(sheet)
    rise = height + 0.5
    bend = sheet["wrinkle_bend"] * np.square(sheet.face_p)
    relief = np.sin(rise * sheet["wrinkle_waves"] + bend + phase)
    relief *= bump(sheet.face_p * (1 / 0.95))
    relief *= bump(rise * (1 / 0.38))

    out = side - 0.62  # crow's feet fan out from the corner of the eye
    fan = np.sin(14.0 * height / (np.abs(out) + 0.25) + 2.0 * phase)
    fan *= bump((out - 0.16) * (1 / 0.3))
    fan *= bump(height * (1 / 0.35))
    relief += fan

    crease = np.sin(24.0 * side + 12.0 * q + 3.0 * phase)
    crease *= bump((side - 0.62) * (1 / 0.35))
    crease *= bump((q - 0.5) * (1 / 0.4))
    relief += 0.8 * crease

    fold = bump((side - 0.24 - 0.4 * (q - _nose_height(sheet))) * (1 / 0.12))
    fold *= bump((q - 0.48) * (1 / 0.26))
    relief -= 0.8 * fold
    relief *= 0.32 * depth
    relief *= head
    relief += 1.0
    shade(sheet.canvas, relief)


def _bags_and_blotches(sheet: Sheet, head: Array) -> None:
    """Shadows under the eyes, and spots of age in no fixed place."""
    sag = np.clip(sheet["sag"], 0.0, 1.2)
    blotches = np.maximum(sheet.strands - 0.82, 0.0)
    blotches *= head
    shade(sheet.canvas, 1.0 - sag * blotches)
    eye = _eye_height(sheet)
    part = sheet.rows(eye + 0.05, eye + 0.45)
    aside = part.side - 0.42
    below = part.q - eye - 0.25 + 0.05 * sheet["eye_size"] + 0.5 * np.square(aside)
    bags = bump(below * (1 / 0.09)) * bump(aside * (1 / 0.3))
    shade(part.canvas, 1.0 - 0.38 * sag * bags)


def _eyes(sheet: Sheet) -> None:
    """Lids, the white, iris and pupil; lids droop with age."""
    eye = _eye_height(sheet)
    part = sheet.rows(eye - 0.3, eye + 0.3)
    side, q = part.side - 0.42, part.q - eye
    child = np.maximum(1.0 - sheet["eye_size"], -0.3)
    width = 0.19 + 0.10 * child
    height = (0.085 + 0.10 * child) * (1.0 - 0.3 * np.clip(sheet["sag"], 0.0, 1.0))
    lids = cover(part.oval(side, q, width * 1.2, height * 1.35))
    paint(part.canvas, lids, sheet["skin"] * 0.68)
    white = cover(part.oval(side, q, width, height))
    paint(part.canvas, white, EYE_WHITE)
    gaze = part.face_p - np.copysign(0.42, part.face_p) - sheet["gaze"] * width
    iris = 0.105 + 0.05 * child
    tall = iris * sheet.half_width / sheet.half_height  # the iris is a circle
    paint(part.canvas, white * cover(part.oval(gaze, q, iris, tall)), sheet["iris"])
    paint(part.canvas, white * cover(part.oval(gaze, q, iris * 0.5, tall * 0.5)), PUPIL)


def _brows(sheet: Sheet) -> None:
    """Brows of the hair's colour, raised or frowning; they grey a little."""
    eye = _eye_height(sheet)
    part = sheet.rows(eye - 0.5, eye)
    side = part.side - 0.42
    arch = part.q - eye + 0.21 + 0.05 * sheet["brow_height"]
    arch += 0.5 * np.square(side)
    arch -= sheet["brow_tilt"] * side
    thickness = 0.010 + 0.034 * np.clip(sheet["brows"], 0.0, 1.5)
    brow = part.half_height * (thickness - np.abs(arch))
    np.minimum(brow, part.half_width * (0.27 - np.abs(side)), out=brow)
    strength = np.clip(0.25 + 0.6 * sheet["brows"], 0.0, 1.0)
    turned = 0.7 * np.clip(sheet["grey"], 0.0, 1.0)
    colour = sheet["hair"] + turned * (sheet["grey_tone"] - sheet["hair"])
    paint(part.canvas, cover(brow) * strength, colour * 0.8)


def _nose(sheet: Sheet) -> None:
    """A bridge lit from one side, the shadow below the tip, nostrils."""
    eye, tip = _eye_height(sheet), _nose_height(sheet)
    part = sheet.rows(eye - 0.2, tip + 0.2)
    p, below = part.face_p, part.q - tip
    width = np.maximum(0.12 + 0.09 * sheet["nose"], 0.06)
    length = tip - eye
    ridge = bump((p - 0.1) / (width + 0.06)) - bump((p + 0.1) / (width + 0.06))
    ridge *= bump((below + 0.5 * length) / (0.62 * length))
    ridge *= 0.22 * np.cos(sheet["light_angle"])
    ridge -= 0.22 * bump((below - 0.05) * (1 / 0.07)) * bump(p / (2.1 * width))
    shade(part.canvas, 1.0 + ridge)
    nostrils = part.oval(part.side - 0.75 * width, below, 0.03 + 0.12 * width, 0.032)
    paint(part.canvas, cover(nostrils) * 0.7, sheet["skin"] * 0.3)


def _mouth(sheet: Sheet) -> None:
    """Lips that thin with age; a smile and an open mouth that say nothing about it."""
    middle = 0.62 + 0.05 * sheet["face_length"]
    part = sheet.rows(middle - 0.25, middle + 0.25)
    p = part.face_p
    q = part.q - middle + sheet["smile"] * (np.square(p) * 0.56 - 0.036)
    width = 0.23 + 0.06 * sheet["face_length"] + 0.05 * sheet["smile"]
    gap = 0.07 * np.maximum(sheet["mouth_open"], 0.0)
    fullness = 0.12 - 0.09 * np.clip(sheet["lips"], -0.3, 1.1)
    red = np.array(LIPS, np.float32)[:, None, None, None]
    lips = cover(part.oval(p, q, width, fullness + gap))
    paint(part.canvas, lips, 0.4 * sheet["skin"] + 0.6 * red)
    paint(part.canvas, cover(part.oval(p, q, 0.85 * width, gap + 0.012)), INSIDE_MOUTH)


def _light(sheet: Sheet) -> None:
    """Light from any side: one half of the picture is lit, the other in shadow."""
    angle, strength = sheet["light_angle"], sheet["light_strength"]
    lit = np.cos(angle) * np.clip(sheet.p, -1.0, 1.0)
    lit += np.sin(angle) * np.clip(sheet.q, -1.0, 1.0)
    lit *= strength
    lit += 1.0
    shade(sheet.canvas, lit)


def _front_hair(sheet: Sheet, hair: Array) -> None:
    """Hair over the forehead: the hairline climbs with age, first at the temples, and thins."""
    bald = np.clip(sheet["hairline"], 0.0, 1.2)
    temples = sheet["hairline_shape"] + 0.35 * bald
    edge = (0.28 - temples) * np.square(sheet.p) + sheet["parting"] * sheet.p
    edge -= 0.44 + 0.06 * sheet["hair_volume"] + 0.42 * bald
    outline = sheet.half_height * (edge - sheet.q)
    outline += 0.08 * (sheet.strands - 0.5)
    np.minimum(outline, sheet.oval(sheet.p, sheet.q + 0.04, 1.06, 1.02), out=outline)
    thin = np.clip(1.15 - 0.75 * bald - 0.5 * bald * sheet.strands, 0.0, 1.0)
    paint(sheet.canvas, cover(outline) * thin, hair)


def _glasses(sheet: Sheet) -> None:
    """Two rims and a bridge, on some people of every age."""
    eye = _eye_height(sheet)
    part = sheet.rows(eye - 0.35, eye + 0.35)
    side, q = part.side - 0.42, part.q - eye - 0.02
    lens = part.oval(side, q, sheet["rim_width"], sheet["rim_height"])
    rims = cover(sheet["rim_thickness"] - np.abs(lens))
    bridge = part.half_width * (0.12 - part.side)
    np.minimum(bridge, 0.02 - part.half_height * np.abs(q + 0.03), out=bridge)
    np.maximum(rims, cover(bridge), out=rims)
    worn = sheet["glasses"]
    paint(part.canvas, rims * worn, sheet["rim"])
    paint(part.canvas, cover(lens) * (worn * sheet["glare"]), GLARE)


def _photograph(sheet: Sheet, rng: np.random.Generator) -> Array:
    """Exposure, colour of the light, haze, focus, sensor noise, 8 bits: (B, 64, 64, 3) uint8."""
    canvas, haze = sheet.canvas, sheet["haze"]
    canvas *= sheet["exposure"] * sheet["tint"] * (1.0 - haze)
    canvas += haze
    blur = sheet["blur"]
    for flat in (canvas, canvas.swapaxes(2, 3)):
        neighbours = flat[..., :-2] + flat[..., 2:]
        neighbours *= 0.5
        neighbours -= flat[..., 1:-1]
        neighbours *= blur
        flat[..., 1:-1] += neighbours
    noise = np.empty_like(canvas)
    rng.standard_normal(dtype=np.float32, out=noise)
    noise *= sheet["noise"]
    canvas += noise
    canvas *= 255.0
    canvas += 0.5
    np.clip(canvas, 0.0, 255.0, out=canvas)
    return canvas.astype(np.uint8).transpose(1, 2, 3, 0)  # (3, B, H, W) -> (B, H, W, 3)
