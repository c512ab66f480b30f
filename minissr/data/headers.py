"""What a picture file says about itself before anything is decoded.

A picture is hostile until it has been decoded, and decoding is what it attacks: a file of a few
kilobytes may announce 400 megapixels, and a file that lost its tail decodes to a face whose lower
half is grey. So the size is read from the header, and the end of the file is looked for, with
nothing but the standard library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

FORMATS = "JPEG, PNG, WebP, BMP, TIFF"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes
    ----------
    format : its name.
    width, height : pixels.
    complete : whether the file reaches its end.
    alpha : whether the picture has alpha that OpenCV hands out.
    multiplied : whether the colours that OpenCV hands out are multiplied by it already.
    grey_alpha : whether it is a grey TIFF with alpha, which OpenCV leaves out without a word.
    """

    format: str
    width: int
    height: int
    complete: bool
    alpha: bool = False
    multiplied: bool = False
    grey_alpha: bool = False


def read_header(data: bytes) -> Header | None:
    """The header of a picture file; None if it is none of `FORMATS` or its header is cut off."""
    for magic, reader in _READERS.items():
        if data.startswith(magic):
            try:
                return reader(data)
            except (struct.error, IndexError):  # the file ends inside its header
                return None
    return None


def _jpeg(data: bytes) -> Header | None:
    """Walk the markers from SOI: the size is in SOFn, and only EOI makes the file complete.

    Looking for the last FF D9 would not do: an embedded thumbnail has its own, and phones append
    data after it.
    """
    width = height = 0
    at, end = 2, len(data)
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= end:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
        elif marker == 0x00 or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # no segment follows
            at += 2
        elif marker == 0xD9:
            return Header("JPEG", width, height, complete=True) if width else None
        else:
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and not width:
                height, width = struct.unpack_from(">HH", data, at + 5)
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return Header("JPEG", width, height, complete=False) if width else None


def _png(data: bytes) -> Header | None:
    """Walk the chunks to IEND; alpha is a colour type of its own or a tRNS chunk."""
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    alpha = colour in (4, 6)
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return Header("PNG", width, height, complete=True, alpha=alpha)
        alpha = alpha or kind == b"tRNS"
        at += 12 + length
    return Header("PNG", width, height, complete=False, alpha=alpha)


def _webp(data: bytes) -> Header | None:
    size, form, kind = struct.unpack_from("<I4s4s", data, 4)
    if form != b"WEBP":
        return None
    complete = len(data) >= 8 + size
    if kind == b"VP8X":  # extended: flags, then width - 1 and height - 1 in 24 bits each
        alpha = bool(data[20] & 0x10)
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif kind == b"VP8L":  # lossless: 14 + 14 bits, then one for alpha
        bits = struct.unpack_from("<I", data, 21)[0]
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        alpha = False
    else:
        return None
    return Header("WebP", width, height, complete, alpha)


def _bmp(data: bytes) -> Header | None:
    pixels_at, header_size = struct.unpack_from("<II", data, 10)
    if header_size == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    width, height = abs(width), abs(height)  # a negative height means top row first
    stored = (width * bits + 31) // 32 * 4 * height if compression in (0, 3) else 0
    return Header("BMP", width, height, complete=len(data) >= pixels_at + stored)


def _tiff(data: bytes) -> Header | None:
    """The first directory of a TIFF: tags 256 and 257 are the size, 273 and 279 the strips.

    (324 and 325 are the same for tiles.) The file is complete if it reaches the end of them all.
    Alpha is a fourth sample (277) of an RGB picture (262 is 2); the fourth of CMYK is black. Of a
    grey one (262 is 0 or 1) it is the second, if 338 says so: 1 where the file's colours are
    multiplied by it, 2 where they aren't. Of 8 bits (258) libtiff then multiplies them itself.
    """
    order = "<" if data[:2] == b"II" else ">"
    widths = {1: "B", 3: "H", 4: "I"}  # field types BYTE, SHORT, LONG
    at = struct.unpack_from(order + "I", data, 4)[0]
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(struct.unpack_from(order + "H", data, at)[0]):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at + 2 + 12 * entry)
        if tag not in _TIFF_TAGS or kind not in widths:
            continue
        value_at = at + 2 + 12 * entry + 8
        if count * struct.calcsize(widths[kind]) > 4:  # the field holds where its values are
            value_at = struct.unpack_from(order + "I", data, value_at)[0]
        if count > len(data):
            return None
        tags[tag] = struct.unpack_from(f"{order}{count}{widths[kind]}", data, value_at)
    if not tags.get(256) or not tags.get(257):
        return None
    offsets = tags.get(273) or tags.get(324) or ()
    sizes = tags.get(279) or tags.get(325) or ()
    reach = max((o + s for o, s in zip(offsets, sizes, strict=False)), default=0)
    colours, samples = tags.get(262), tags.get(277)
    kind_of_alpha, eight_bits = tags.get(338), set(tags.get(258, ())) == {8}
    return Header(
        "TIFF",
        tags[256][0],
        tags[257][0],
        complete=len(data) >= reach,
        alpha=colours == (2,) and samples == (4,),
        multiplied=kind_of_alpha == (1,) or (kind_of_alpha == (2,) and eight_bits),
        grey_alpha=colours in ((0,), (1,)) and samples == (2,) and kind_of_alpha in ((1,), (2,)),
    )


_TIFF_TAGS = (256, 257, 258, 262, 273, 277, 279, 324, 325, 338)

_READERS: dict[bytes, Callable[[bytes], Header | None]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": _png,
    b"RIFF": _webp,
    b"BM": _bmp,
    b"II*\x00": _tiff,
    b"MM\x00*": _tiff,
}
