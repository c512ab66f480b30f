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
