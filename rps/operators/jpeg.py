"""JPEG compression (ITU-T T.81, JFIF)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import ONE_BY_ONE, Operator
from rps.operators.separable import Exact
from rps.pictures import PictureFiles
from rps.randomness import Streams

# ITU-T T.81, tables K.1 and K.2: quantiser steps at quality 50; the columns are the frequencies along the rows.
LUMA = """
    16 11 10 16 24 40 51 61      12 12 14 19 26 58 60 55      14 13 16 24 40 57 69 56       14 17 22 29 51 87 80 62
    18 22 37 56 68 109 103 77    24 35 55 64 81 104 113 92    49 64 78 87 103 121 120 101   72 92 95 98 112 100 103 99
"""
CHROMA = """
    17 18 24 47 99 99 99 99      18 21 26 66 99 99 99 99      24 26 56 99 99 99 99 99       47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99      99 99 99 99 99 99 99 99      99 99 99 99 99 99 99 99       99 99 99 99 99 99 99 99
"""
# Y, Cb, Cr of R, G, B (JFIF).
TO_YCBCR = [
    [0.299, 0.587, 0.114],
    [-0.299 / 1.772, -0.587 / 1.772, 0.5],
    [0.5, -0.587 / 1.402, -0.114 / 1.402],
]


def quantisation_steps(table: str, quality: int) -> Tensor:
    """The 8 x 8 quantiser steps at a quality of 1 to 100, as libjpeg scales them.  -> float64 [8, 8]."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [min(max((int(step) * scale + 50) // 100, 1), 255) for step in table.split()]
    return torch.tensor(steps, dtype=torch.float64).view(8, 8)


def cosine_transform() -> Tensor:
    """The orthonormal cosine transform D, D_ku = c_k cos((2u + 1) k pi / 16).  -> float64 [8, 8]."""
    k, u = torch.arange(8, dtype=torch.float64).view(8, 1), torch.arange(8, dtype=torch.float64)
    return torch.cos((2 * u + 1) * k * math.pi / 16) * torch.where(k == 0, math.sqrt(1 / 8), math.sqrt(1 / 4))


CONSTANTS = Exact(
    cosine_transform(),
    torch.tensor(TO_YCBCR, dtype=torch.float64),
    torch.linalg.inv(torch.tensor(TO_YCBCR, dtype=torch.float64)),
)
"""The cosine transform, and the matrices from R, G, B to Y, Cb, Cr and back."""


def round_straight_through(z: Tensor) -> Tensor:
    """z rounded to the nearest integer, halves away from zero as in libjpeg; its gradient is that of z.

    Values within 1e-4 of a half count as a half, so that rounding errors do not decide the direction.
    """
    return z + (torch.sign(z) * (z.abs() + 0.5 + 1e-4).floor() - z).detach()


class Jpeg(Operator):
    """The decoded JPEG of an image, nonlinear.  x, y: [N, C, H, W], one channel (luma only) or three (4:2:0 colour).

    Colour is halved by averaging and doubled by linear interpolation as in libjpeg; sides that are not a multiple of
    the block size are padded with their last pixel. Only the cosine coefficients are rounded; x and y are not rounded
    to 8 bits. Gradients treat the rounding as the identity, and are zero where the decoder clips.

    Args:
        quality: quality from 1 to 100, on the scale of libjpeg and Pillow.
    """

    steps: Exact
    """Quantiser steps of luma and of colour, [8, 8]; or of each image, [N, 8, 8]."""
    halved: tuple[int, int] = (2, 2)
    """Factors by which the height and the width of the colours shrink."""

    def __init__(self, quality: int = 10) -> None:
        super().__init__()
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be in 1 .. 100, got {quality}")
        self.quality = quality
        self.steps = Exact(*(quantisation_steps(table, quality) for table in (LUMA, CHROMA)))

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Jpeg:
        if shape[0] not in (1, 3):
            raise ValueError(f"Jpeg needs images of 1 or 3 channels, got {shape[0]}")
        return self.bound(image_shape=tuple(shape))

    def forward(self, x: Tensor) -> Tensor:
        (transform, to_ycbcr, to_rgb), (luma, chroma) = CONSTANTS.like(x), self.steps.like(x)
        if not len(x):
            return x.clone()
        _, c, h, w = x.shape
        unit = 8 if c == 1 else 16
        centred = 127.5 * x - 0.5  # 255 (x + 1) / 2 - 128
        planes = F.pad(centred, (0, -w % unit, 0, -h % unit), mode="replicate")

        def coded(plane: Tensor, steps: Tensor) -> Tensor:
            blocks = plane.unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).transpose(3, 4)
            steps = steps.unflatten(-2, (1, 1, 1, 8))
            quantised = round_straight_through(transform @ blocks @ transform.mT / steps) * steps
            return (transform.mT @ quantised @ transform).transpose(3, 4).flatten(4, 5).flatten(2, 3)

        if c == 1:
            decoded = coded(planes, luma)[..., :h, :w]
        else:
            # The rows for Cb and Cr sum to zero, so the offset of 128 affects only Y.
            y, cb_cr = torch.einsum("ij,njhw->nihw", to_ycbcr, planes).split((1, 2), 1)
            (v, u), factors = self.halved, tuple(map(float, self.halved))
            small = coded(F.avg_pool2d(cb_cr, (v, u)), chroma)[..., : -(-h // v), : -(-w // u)]
            cb_cr = F.interpolate(small, scale_factor=factors, mode="bilinear", align_corners=False)[..., :h, :w]
            decoded = torch.einsum("ij,njhw->nihw", to_rgb, torch.cat([coded(y, luma)[..., :h, :w], cb_cr], 1))
        return ((decoded + 0.5) / 127.5).clamp(-1, 1)


class JpegFile(Jpeg):
    """The JPEG compression that files have gone through, with their quantiser steps and their sampling of the colours.

    Args:
        files: path of a JPEG, whose compression all samples have; or of a folder with one for each id, such as the
            folder of the data itself.
    """

    per_sample = ("tables",)
    tables: Tensor
    """Quantiser steps of luma and of colour of each image.  float64 [N, 2, 8, 8]."""

    def __init__(self, files: str) -> None:
        super().__init__()
        self.files, self.found = files, PictureFiles(files, "files")
        self.alike = self.found.one is not None

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> JpegFile:
        read = [read_compression(self.found.of(id_)) for id_ in streams.ids]
        if len(sampled := {halved for _, halved in read}) > 1:
            raise ValueError(f"files of one batch sample colours by {sorted(sampled)}; {ONE_BY_ONE}")
        tables = torch.stack([table for table, _ in read] or [torch.zeros(0)]).view(len(read), 2, 8, 8)
        bound: JpegFile = super().bind(shape, streams).bound(halved=next(iter(sampled), (2, 2)))
        return bound._with(tables.to(streams.keys.device))

    def rows(self, index: Tensor | slice) -> JpegFile:
        return self._with(self.tables[index])

    def _with(self, tables: Tensor) -> JpegFile:
        return self.bound(tables=tables, steps=Exact(*tables.unbind(1)))


def read_compression(path: Path) -> tuple[Tensor, tuple[int, int]]:
    """The quantiser steps of luma and of colour, float64 [2, 8, 8], and the factors by which colours shrink, of a JPEG.

    Errors: ValueError for another file, or another sampling than 4:4:4, 4:2:2 and 4:2:0.
    """
    from PIL import Image, JpegImagePlugin

    with Image.open(path) as file:
        if not isinstance(file, JpegImagePlugin.JpegImageFile):
            raise ValueError(f"{path} is {file.format} and not JPEG, so its compression is unknown; give Jpeg(quality)")
        sampling = 0 if file.mode == "L" else JpegImagePlugin.get_sampling(file)
        found = list(file.quantization.values())
    if sampling not in (0, 1, 2):
        raise ValueError(f"{path} samples its colours otherwise than 4:4:4, 4:2:2 and 4:2:0; leave it out")
    tables = torch.tensor([found[0], found[-1]], dtype=torch.float64).view(2, 8, 8)
    return tables, ((1, 1), (1, 2), (2, 2))[sampling]
