"""Reads pictures with damaged metadata but intact pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
ORIENTATION = 0x0112
PIXEL_TAGS = {
    256, 257, 258, 259, 262, 266, 273, ORIENTATION, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338,
    339, 347, 529, 530, 531, 532,
}  # fmt: skip


def upright(picture: Any) -> Any:
    """A loaded picture, turned by its EXIF orientation; unchanged if that cannot be read."""
    from PIL import Image

    # Pillow's exif_transpose rewrites all other tags, and fails if one of them has a wrong type.
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def orientation(picture: Any) -> Any:
    """The EXIF orientation; None if there is none that can be read."""
    try:
        return picture.getexif().get(ORIENTATION)
    except Exception:  # metadata parsers raise almost any exception
        return None


def without_metadata(data: bytes) -> bytes | None:
    """A PNG, JPEG or TIFF file reduced to its pixels and orientation; None for other formats."""
    if data.startswith(PNG):
        return PNG + b"".join(_png_chunks(data))
    if data.startswith(JPEG):
        return JPEG + b"".join(_jpeg_segments(data))
    if data.startswith((b"II\x2a\0", b"MM\0\x2a")):
        return _first_directory(data, "<" if data.startswith(b"II") else ">")
    return None


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at = len(PNG)
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        whole = data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
        if kind in PIXEL_CHUNKS or (kind == b"eXIf" and whole):
            yield data[at:end]
        at = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    at = len(JPEG)
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":  # up to the start of the scan
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at:end]
        exif = segment[4:].startswith(b"Exif\0\0")
        colours = segment[4:].startswith(b"Adobe") and len(segment) >= 16  # how CMYK is stored
        if exif or colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield segment
        at = end
    yield data[at:]


def _first_directory(data: bytes, order: str) -> bytes:
    """The TIFF file with its first picture only: a new directory at the end holds the tags that the pixels need."""
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] in PIXEL_TAGS]
    body = data[8:] + bytes(len(data) % 2)  # a directory begins at an even offset
    return b"".join(
        [data[:4], struct.pack(order + "I", 8 + len(body)), body, struct.pack(order + "H", len(kept)), *kept, bytes(4)]
    )
