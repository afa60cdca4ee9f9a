"""PNGs of 16 bits, whose colours Pillow cuts to 8 when it reads, and does not write."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import torch
from torch import Tensor

from rps.pictures.metadata import PNG, upright, without_metadata

HEAD = 26
"""Number of bytes by which `is_deep` knows a file."""
DEPTH, GREY, COLOURS, WHITE = 16, 0, 2, 65535


def is_deep(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a PNG of 16 bits."""
    return head.startswith(PNG) and head[24:25] == bytes([DEPTH])


def decode(data: bytes) -> Tensor:
    """The picture, upright, as float32 [C, H, W] in [0, 1], C = 1 or 3; transparent parts are white."""
    from PIL import Image

    data = without_metadata(data) or data
    with Image.open(io.BytesIO(data)) as file:
        key, layout = file.info.get("transparency"), file.tile[0][3]
    if layout == "LA;16B":
        parts = _unpacked(data, "RGBA")  # four bytes of a pixel, whatever they mean
        values = 256 * parts[::2] + parts[1::2]
    elif layout in ("RGB;16B", "RGBA;16B"):  # Pillow keeps the first of two bytes, and of 16L the second
        values = 256 * _unpacked(data, layout) + _unpacked(data, layout.replace("16B", "16L"))
    else:
        values = _unpacked(data, layout)
    colours, alpha = values, torch.ones(())
    if len(values) in (2, 4):
        colours, alpha = values[:-1], values[-1] / WHITE
    elif key is not None:
        alpha = (values != torch.tensor(key).view(-1, 1, 1)).any(0).float()
    return colours / WHITE * alpha + (1 - alpha)


def _unpacked(data: bytes, layout: str) -> Tensor:
    """What Pillow makes of the picture if its pixels are laid out like this: upright, [C, H, W]."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as file:
        file.tile = [(*file.tile[0][:3], layout)]
        file.load()
        values = np.asarray(upright(file), dtype=np.float32)
    return torch.from_numpy(np.atleast_3d(values)).permute(2, 0, 1)


def encode(picture: np.ndarray) -> bytes:
    """The PNG of a picture.  picture: uint16 [H, W] or [H, W, 3]."""
    height, width = picture.shape[:2]
    rows = np.ascontiguousarray(picture, dtype=">u2").view(np.uint8).reshape(height, -1)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # each row less the one above: PNG's filter 2
    header = struct.pack(">IIBBBBB", width, height, DEPTH, COLOURS if picture.ndim == 3 else GREY, 0, 0, 0)
    pixels = zlib.compress(np.insert(up, 0, 2, axis=1).tobytes())
    return PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
