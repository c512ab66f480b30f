"""Pictures the tests draw themselves, as arrays, as files and as collections. No real faces."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minissr.data.images import opencv


def drawing(seed: int, height: int = 80, width: int = 72) -> np.ndarray:
    """A smooth round thing with two dots on a gradient: uint8 (height, width, 3) RGB."""
    cv2 = opencv()
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    skin = tuple(int(v) for v in rng.integers(60, 240, 3))
    cx, cy = (int(s * rng.uniform(0.4, 0.6)) for s in (width, height))
    axes = (int(width * rng.uniform(0.2, 0.35)), int(height * rng.uniform(0.25, 0.4)))
    cv2.ellipse(image, (cx, cy), axes, 0, 0, 360, skin, -1)
    for side in (-1, 1):
        cv2.circle(image, (cx + side * axes[0] // 2, cy - axes[1] // 4), 3, (20, 20, 20), -1)
    return image


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    """A picture file's bytes; RGB(A) or grey in."""
    cv2 = opencv()
    if image.ndim == 3:
        code = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        image = cv2.cvtColor(image, code)
    ok, data = cv2.imencode(suffix, image)
    assert ok
    return data.tobytes()


def picture(seed: int, suffix: str = ".jpg") -> bytes:
    """The file of `drawing(seed)`."""
    return encoded(drawing(seed), suffix)


def tiff(image: np.ndarray, alpha: int | None = None) -> bytes:
    """A TIFF of plain numbers (H, W, S), whose last sample is alpha of that kind (tag 338).

    1 says that colours are multiplied by it, 2 that they aren't; OpenCV writes neither.
    """
    height, width, samples = image.shape
    sample_format = {"u": 1, "i": 2, "f": 3}[image.dtype.kind]
    shorts = {256: width, 257: height, 259: 1, 262: 2 if samples > 2 else 1, 277: samples}
    shorts |= {278: height, 284: 1, 338: alpha or 0}
    each = {258: 8 * image.itemsize, 339: sample_format}  # a number for each sample
    tags = sorted([*shorts, *each, 273, 279])
    beside_at = 8 + 2 + 12 * len(tags) + 4
    pixels_at = beside_at + 4 * samples
    entries = beside = b""
    for tag in tags:
        if tag in each:
            values = struct.pack(f"<{samples}H", *[each[tag]] * samples)
            if samples > 2:  # more than the entry has room for: it says where they are
                values, beside = struct.pack("<I", beside_at + len(beside)), beside + values
            entries += struct.pack("<HHI", tag, 3, samples) + values
        elif tag in shorts:
            entries += struct.pack("<HHII", tag, 3, 1, shorts[tag])
        else:
            entries += struct.pack("<HHII", tag, 4, 1, {273: pixels_at, 279: image.nbytes}[tag])
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + beside
    return head.ljust(pixels_at, b"\0") + image.tobytes()


def huge_png(width: int = 20_000, height: int = 20_000) -> bytes:
    """A well-formed PNG of a few bytes that announces 400 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    magic = b"\x89PNG\r\n\x1a\n"
    return magic + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def as_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def as_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def as_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def labels_csv(path: Path, rows: Mapping[str, object], **columns: Mapping[str, object]) -> Path:
    """A labels file: name -> age, and further columns name -> {file: value}."""
    lines = [",".join(["file", "age", *columns])]
    for file, age in rows.items():
        lines.append(",".join(map(str, [file, age, *(c.get(file, "") for c in columns.values())])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
