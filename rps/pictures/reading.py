"""Reads picture files of any common format as tensors in [-1, 1]."""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from rps.pictures import deep_png
from rps.pictures.metadata import ORIENTATION, upright, without_metadata

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".avif",
)  # fmt: skip

Fit = Literal["crop", "pad", "resize"]
"""How a picture gets a size: its largest centred crop of these proportions, or the whole picture within it, with or
without a mirrored border that fills it."""

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF file."""

_descriptor = threading.Lock()
"""Held while file descriptor 2, which the whole process shares, is redirected."""


def read_picture(
    source: Path | IO[bytes],
    channels: int,
    size: tuple[int, int] | None = None,
    enlarge: bool = False,
    fit: Fit | None = None,
) -> Tensor:
    """The picture, upright, as [C, H, W] in [-1, 1]; with a size (height, width), centre-cropped and resized to it.

    Supports grey, RGB, palette, CMYK, LAB and transparent pictures (shown on white), PNGs of 16 bits and any other grey
    of 16 bits in their full depth, and the first frame of animations. Damaged metadata are ignored. The crop is the
    largest centred one with the proportions of size; it is reduced by Pillow's Lanczos filter, which is antialiased
    and, for 8-bit pictures, uses integer arithmetic, so the bits are the same on every machine. With fit = "resize",
    the whole picture is reduced until it fits into the size; with "pad" it is also mirrored at its border to fill it.

    channels: 1 (grey; colours by ITU-R 601 luma) or 3 (RGB; grey is repeated).
    Errors: ValueError if the picture is smaller than the size that it is cropped to (unless enlarge is set), or not a
    picture.
    """
    start = _start(source)
    with _silence(start.startswith(TIFF)):
        pictures = _bands(source, channels) if deep_png.is_deep(start) else [_colours(_open(source), channels)]
    if size is not None:
        fitted = _FITS[fit or "crop"]
        pictures = [fitted(picture, *size, enlarge) for picture in pictures]
    tensor = torch.from_numpy(np.dstack([np.asarray(picture, dtype=np.float32) for picture in pictures])).permute(
        2, 0, 1
    )
    return (tensor / 127.5 - 1).clamp(-1, 1).expand(channels, -1, -1).contiguous()


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the upright picture, from its header; None if that cannot be read."""
    from PIL import Image

    try:
        with _silence(libtiff=False), Image.open(path) as file:
            turned = file.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return file.size if turned else (file.height, file.width)
    except Exception:  # readers raise almost any exception; the picture fails when it is read
        return None


def _open(source: Path | IO[bytes]) -> Any:
    """The picture, loaded and upright, even if its metadata are damaged."""
    from PIL import UnidentifiedImageError

    try:
        return upright(_loaded(source))
    except Exception as error:
        with suppress(Exception):
            if bare := without_metadata(_bytes(source)):
                return upright(_loaded(io.BytesIO(bare)))
        if isinstance(error, UnidentifiedImageError):
            raise ValueError("cannot be read: not a picture, or in a format that Pillow does not know") from None
        raise


def _loaded(source: Path | IO[bytes]) -> Any:
    from PIL import Image

    with Image.open(source) as file:
        value, stored = file.info.get("transparency"), getattr(file, "tile", None) and file.tile[0].args
        file.load()
        # Pillow scales grey values of 2 and 4 bits, but not the transparent value.
        if isinstance(value, int) and stored in ("L;2", "L;4"):
            file.info["transparency"] = value * (85 if stored == "L;2" else 17)
        return file.copy()


def _bytes(source: Path | IO[bytes]) -> bytes:
    if isinstance(source, Path):
        return source.read_bytes()
    source.seek(0)
    return source.read()


def _start(source: Path | IO[bytes]) -> bytes:
    """The first bytes of a file."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(deep_png.HEAD)
    place = source.tell()
    start = source.read(deep_png.HEAD)
    source.seek(place)
    return start


def _bands(source: Path | IO[bytes], channels: int) -> list[Any]:
    """The colours of a PNG of 16 bits, each a picture of mode F in units of 8-bit values."""
    from PIL import Image

    values = deep_png.decode(_bytes(source))
    if channels == 1 and len(values) == 3:
        values = torch.einsum("c,chw->hw", torch.tensor([0.299, 0.587, 0.114]), values)[None]  # ITU-R 601
    return [Image.fromarray(band) for band in (255 * values).numpy()]


@contextmanager
def _silence(libtiff: bool) -> Iterator[None]:
    """Suppresses the warnings and log lines of Pillow and the output of libtiff on metadata and large pictures."""
    logger, level = logging.getLogger("PIL"), logging.getLogger("PIL").level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), _no_standard_error() if libtiff else nullcontext():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Silences C libraries, which write to descriptor 2 directly. One thread at a time."""
    with _descriptor:
        try:
            kept = os.dup(2)
        except OSError:  # descriptor 2 is closed
            yield
            return
        try:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _colours(picture: Any, channels: int) -> Any:
    """The picture in mode L, RGB, or F (16 bits, in units of 8-bit grey values)."""
    from PIL import Image

    if picture.mode.startswith("I"):  # I;16 and its variants; some readers use I for 16 bits
        values = np.asarray(picture, dtype=np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("cannot be read: it has more than 16 bits per value, so the value of white is unknown")
        return Image.fromarray(values / 257)
    if picture.mode == "F":
        raise ValueError("cannot be read: it has floating-point values, so the value of white is unknown")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode == "LAB":  # Pillow converts LAB only to RGB
        picture = picture.convert("RGB")
    return picture.convert("L" if channels == 1 else "RGB")


def _crop_and_resize(picture: Any, height: int, width: int, enlarge: bool) -> Any:
    from PIL import Image

    w, h = picture.size
    if not enlarge and (h < height or w < width):
        raise ValueError(
            f"the picture is {w} x {h}, smaller than the {width} x {height} pixels that are needed, and pictures are "
            "not enlarged; give a larger one, fit: pad, or a prior of any size (rps.TiledPrior), which mirrors it"
        )
    # The largest crop of proportions width : height.
    crop_w, crop_h = (w, w * height // width) if w * height <= h * width else (h * width // height, h)
    left, top = (w - crop_w) // 2, (h - crop_h) // 2
    picture = picture.crop((left, top, left + crop_w, top + crop_h))
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.LANCZOS)


def _fit_into(picture: Any, height: int, width: int, enlarge: bool) -> Any:
    from PIL import Image

    w, h = picture.size
    scale = min(height / h, width / w) if enlarge else min(height / h, width / w, 1)
    size = max(round(scale * w), 1), max(round(scale * h), 1)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _pad_to(picture: Any, height: int, width: int, enlarge: bool) -> Any:
    from PIL import Image

    picture = _fit_into(picture, height, width, enlarge)
    rims = [(rim // 2, rim - rim // 2) for rim in (height - picture.height, width - picture.width)]
    return Image.fromarray(np.pad(np.asarray(picture), rims + [(0, 0)] * (len(picture.getbands()) > 1), "symmetric"))


_FITS: dict[Fit, Callable[[Any, int, int, bool], Any]] = {
    "crop": _crop_and_resize,
    "pad": _pad_to,
    "resize": _fit_into,
}
