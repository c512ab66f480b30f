"""Decoding: sensible pixels from sensible files, one sentence for the others."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr.data.headers import read_header
from minissr.data.images import MAX_PIXELS, PictureError, decode, opencv, read_picture, shrink
from tests.data.drawings import drawing, encoded, huge_png, picture, tiff

RGB = drawing(0)
LOSSLESS = (".png", ".webp", ".bmp", ".tiff")


def refused(data: bytes) -> PictureError:
    with pytest.raises(PictureError) as error:
        decode(data, "face.jpg")
    assert str(error.value).startswith("face.jpg: ")
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_give_their_pixels_in_rgb(suffix):
    image = decode(encoded(RGB, suffix))
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB)


def test_jpeg_is_close():
    assert np.abs(decode(encoded(RGB, ".jpg")).astype(int) - RGB).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
def test_headers_know_the_size(suffix):
    header = read_header(encoded(RGB, suffix))
    assert header is not None
    assert (header.width, header.height, header.complete) == (72, 80, True)


def test_grey_becomes_three_equal_channels():
    image = decode(encoded(RGB[:, :, 0]))
    np.testing.assert_array_equal(image, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_become_eight(suffix):
    np.testing.assert_array_equal(decode(encoded(RGB.astype(np.uint16) * 257, suffix)), RGB)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".webp", np.uint8),
        (".png", np.uint8),
        (".png", np.uint16),
        (".tiff", np.uint8),
        (".tiff", np.uint16),
    ],
)
def test_what_is_transparent_is_shown_on_white(suffix, kind):
    alpha = np.zeros(RGB.shape[:2], np.uint8)
    alpha[:40] = 255
    rgba = np.dstack([RGB, alpha]).astype(kind) * (257 if kind is np.uint16 else 1)
    image = decode(encoded(rgba, suffix))
    assert (image[40:] == 255).all()
    np.testing.assert_array_equal(image[:40], RGB[:40])


ALPHA = np.linspace(0, 255, RGB.size // 3).reshape(*RGB.shape[:2], 1).round().astype(np.uint8)
RGBA = np.concatenate([RGB, ALPHA], axis=2)
ON_WHITE = RGB * (ALPHA / 255) + (255 - ALPHA.astype(float))


def multiplied(rgba: np.ndarray) -> np.ndarray:
    """The colours times alpha, as some files keep them."""
    share = rgba[:, :, 3:] / np.iinfo(rgba.dtype).max
    return np.concatenate([(rgba[:, :, :3] * share).astype(rgba.dtype), rgba[:, :, 3:]], axis=2)


@pytest.mark.parametrize(
    "data",
    [
        encoded(RGBA, ".png"),
        encoded(RGBA.astype(np.uint16) * 257, ".png"),
        encoded(RGBA, ".tiff"),
        encoded(RGBA.astype(np.uint16) * 257, ".tiff"),
        tiff(RGBA, 2),
        tiff(RGBA.astype(np.uint16) * 257, 2),
        tiff(multiplied(RGBA), 1),
        tiff(multiplied(RGBA.astype(np.uint16) * 257), 1),
    ],
)
def test_alpha_is_applied_once_whatever_the_file_keeps(data):
    assert np.abs(decode(data) - ON_WHITE).max() < 1.6


def test_colours_beyond_their_alpha_stay_white():
    image = np.full((20, 20, 4), 200, np.uint8)
    image[:, :, 3] = 10
    assert (decode(tiff(image, 1)) == 255).all()


@pytest.mark.parametrize("kind", [1, 2])
def test_a_grey_tiff_with_alpha_is_refused(kind):
    error = refused(tiff(RGBA[:, :, 2:], kind))
    assert "grey TIFF with transparency" in str(error)
    np.testing.assert_array_equal(decode(tiff(RGBA[:, :, 2:]))[:, :, 0], RGB[:, :, 2])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int8, np.int16, np.int32])
@pytest.mark.parametrize("samples", [3, 4])
def test_a_tiff_of_other_than_whole_positive_numbers_is_refused(kind, samples):
    assert "damaged TIFF" in str(refused(tiff(RGBA[:, :, :samples].astype(kind))))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    pil = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pil.fromarray(RGB).convert("CMYK").save(file, kind, quality=95)
    assert np.abs(decode(file.getvalue()).astype(int) - RGB).mean() < 4


def test_exif_orientation_is_applied():
    pil = pytest.importorskip("PIL.Image")
    file, exif = io.BytesIO(), pil.Exif()
    exif[0x0112] = 6  # the top of the picture is on the right
    pil.fromarray(RGB).save(file, "JPEG", quality=95, exif=exif)
    upright = decode(file.getvalue())
    assert np.abs(upright.astype(int) - np.rot90(RGB, -1)).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", *LOSSLESS])
@given(share=st.floats(0.05, 0.99))
def test_truncated_files_are_refused(suffix, share):
    data = encoded(RGB, suffix)
    assert refused(data[: int(len(data) * share)]).kind in ("truncated", "unreadable")


def test_a_truncated_jpeg_says_so_even_with_a_whole_thumbnail_inside():
    whole = encoded(RGB, ".jpg")
    thumbnail = encoded(RGB[::4, ::4], ".jpg")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = whole[:2] + segment + whole[2:]
    assert decode(data).shape == RGB.shape
    error = refused(data[:-200])
    assert error.kind == "truncated"
    assert "copy the file again" in str(error)


def test_a_jpeg_padded_with_zeros_where_its_end_was_is_truncated():
    data = encoded(RGB, ".jpg")
    assert refused(data[:-300] + bytes(300)).kind == "truncated"


def test_bytes_after_the_end_of_a_jpeg_are_fine():
    assert decode(encoded(RGB, ".jpg") + b"trailer of some phone").shape == RGB.shape


@pytest.mark.parametrize("size", [(1, 1), (15, 200), (200, 15)])
def test_tiny_pictures_are_refused(size):
    error = refused(encoded(np.zeros((*size, 3), np.uint8)))
    assert error.kind == "too small"
    assert f"{size[1]}x{size[0]}" in str(error)


def test_400_megapixels_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr("minissr.data.images._decode", lambda *_: pytest.fail("decoded"))
    error = refused(huge_png())
    assert error.kind == "too large"
    assert "400 megapixels" in str(error)


def test_opencv_itself_is_told_of_the_cap():
    code = "from minissr.data.images import opencv, os; opencv(); print(os.environ['{}'])"
    variable = "OPENCV_IO_MAX_IMAGE_PIXELS"
    environment = {k: v for k, v in os.environ.items() if k != variable}
    out = subprocess.run(
        [sys.executable, "-c", code.format(variable)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(out.stdout) == MAX_PIXELS


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"hello", b"GIF89a" + bytes(99), b"\x89PNG\r\n\x1a\n", b"II*\0\x08"]
)
def test_what_is_no_picture_is_refused(data):
    assert refused(data).kind in ("empty", "unreadable")


MAGICS = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")


@given(data=st.binary(max_size=200), magic=st.sampled_from([*MAGICS, b"RIFF\x40\0\0\0WEBPVP8X"]))
def test_noise_behind_any_magic_is_refused_or_decoded(data, magic):
    with contextlib.suppress(PictureError):
        assert decode(magic + data).dtype == np.uint8


@given(seed=st.integers(0, 10_000), suffix=st.sampled_from((".jpg", *LOSSLESS)))
def test_mutated_files_are_refused_or_decoded(seed, suffix):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(drawing(1, 24, 24), suffix))
    for at in rng.integers(0, len(data), 5):
        data[at] = rng.integers(256)
    with contextlib.suppress(PictureError):
        assert decode(bytes(data)).dtype == np.uint8


def test_read_picture_names_the_path(tmp_path):
    with pytest.raises(PictureError, match=r"nowhere\.jpg: can't be read"):
        read_picture(tmp_path / "nowhere.jpg")
    with pytest.raises(PictureError, match="can't be read"):
        read_picture(tmp_path)
    (tmp_path / "a.jpg").write_bytes(picture(3))
    assert read_picture(tmp_path / "a.jpg").shape == (80, 72, 3)


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(refused(b"hello")))
    assert (error.name, error.kind) == ("face.jpg", "unreadable")


def test_shrink_averages_and_enlarges():
    image = np.zeros((128, 128, 3), np.uint8)
    image[::2] = 200
    assert (shrink(image) == 100).all()
    assert shrink(drawing(0, 30, 20)).shape == (64, 64, 3)
    opencv()
    constant = np.full((200, 200, 3), (10, 20, 30), np.uint8)
    assert (shrink(constant) == (10, 20, 30)).all()
