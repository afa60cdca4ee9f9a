"""JPEG compression (ITU-T T.81, JFIF) of a given quality, or that of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rps.operators.base import ONE_BY_ONE
from rps.operators.jpeg_coefficients import Compression, JpegCoefficients
from rps.pictures import PictureFiles
from rps.pictures.metadata import orientation

# ITU-T T.81, tables K.1 and K.2: quantiser steps at quality 50; the columns are the frequencies along the rows.
LUMA = """
    16 11 10 16 24 40 51 61      12 12 14 19 26 58 60 55      14 13 16 24 40 57 69 56       14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77    24 35 55 64 81 104 113 92    49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""
CHROMA = """
    17 18 24 47 99 99 99 99      18 21 26 66 99 99 99 99      24 26 56 99 99 99 99 99       47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99      99 99 99 99 99 99 99 99      99 99 99 99 99 99 99 99       99 99 99 99 99 99 99 99
"""


def quantisation_steps(table: str, quality: int) -> tuple[int, ...]:
    """The quantiser steps at a quality of 1 to 100, as libjpeg scales them."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((int(step) * scale + 50) // 100, 1), 255) for step in table.split())


class Jpeg(JpegCoefficients):
    """The cosine coefficients of a JPEG of 4:2:0 colour, see JpegCoefficients.

    Args:
        quality: quality from 1 to 100, on the scale of libjpeg and Pillow.
    """

    def __init__(self, quality: int = 10) -> None:
        super().__init__()
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be in 1 .. 100, got {quality}")
        self.quality = quality

    def compression(self, ids: Sequence[str]) -> Compression:
        return Compression(quantisation_steps(LUMA, self.quality), quantisation_steps(CHROMA, self.quality))


class JpegFile(JpegCoefficients):
    """The cosine coefficients of JPEG files, with their quantiser steps and their sampling of the colours, see
    JpegCoefficients. Files of a folder may be compressed differently, which makes batches of one.

    Args:
        files: path of a JPEG, whose compression all samples have; or of a folder with one for each id, such as the
            folder of the data itself.
    """

    def __init__(self, files: str) -> None:
        super().__init__()
        self.files, self.found = files, PictureFiles(files, "files")
        self.alike = self.found.one is not None

    def compression(self, ids: Sequence[str]) -> Compression:
        first, *others = {read_compression(self.found.of(id_)) for id_ in ids or [""]}
        if others:
            raise ValueError(f"the files of one batch have {1 + len(others)} different compressions; {ONE_BY_ONE}")
        return first


def read_compression(path: Path) -> Compression:
    """The compression of a JPEG.

    Errors: ValueError for another file, one that its EXIF orientation turns, whose blocks are those of the picture
    before, or another sampling of the colours than 4:4:4, 4:2:2 and 4:2:0.
    """
    from PIL import Image, JpegImagePlugin

    with Image.open(path) as file:
        if not isinstance(file, JpegImagePlugin.JpegImageFile):
            raise ValueError(f"{path} is {file.format} and not JPEG, so its compression is unknown; give Jpeg(quality)")
        if orientation(file) in range(2, 9):
            raise ValueError(
                f"{path} is turned by its EXIF orientation, so its blocks are not those of the upright picture; turn "
                "its pixels without loss first (jpegtran -rotate), or give Jpeg(quality)"
            )
        sampling = 0 if file.mode == "L" else JpegImagePlugin.get_sampling(file)
        tables = [tuple(table) for table in file.quantization.values()]
    if sampling not in (0, 1, 2):
        raise ValueError(f"{path} samples its colours otherwise than 4:4:4, 4:2:2 and 4:2:0; leave it out")
    return Compression(tables[0], tables[-1], ((1, 1), (1, 2), (2, 2))[sampling])
