"""JPEG compression (ITU-T T.81, JFIF)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Gain, LinearOperator, SpectralOperator
from rps.operators.separable import Exact
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


def split(plane: Tensor) -> Tensor:
    """[N, C, 8 I, 8 J] -> blocks [N, C, I, J, 8, 8]."""
    return plane.unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).transpose(3, 4)


def join(blocks: Tensor) -> Tensor:
    """[N, C, I, J, 8, 8] -> [N, C, 8 I, 8 J]."""
    return blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)


class Jpeg(LinearOperator):
    """y_b = (q_min / q) o (D x_b D^T) for each block x_b of 8 x 8 pixels: the cosine coefficients of a JPEG, which the
    file stores as multiples of their quantiser steps q.  x: [N, C, H, W] -> y: [N, blocks, 64].

    A is linear; what loses information is `stored`, which rounds y. Its error is taken for Gaussian, of variance
    q^2 / 12 in a coefficient, that of the uniform law; a noise added to y comes before the rounding. In x and y 1 is
    127.5 grey levels, and q_min is the smallest step. `pinv` decodes the file, without
    clipping, whatever its rcond.

    Three channels are coded in 4:2:0 colour, with chroma halved by averaging and doubled by repetition; any other
    number as grey pictures. Sides that are not a multiple of the block size are padded with their last pixel. x and y
    are not rounded to 8 bits.

    Args:
        quality: quality from 1 to 100, on the scale of libjpeg and Pillow.
    """

    def __init__(self, quality: int = 10) -> None:
        super().__init__()
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be in 1 .. 100, got {quality}")
        self.quality = quality
        colours = torch.tensor(TO_YCBCR, dtype=torch.float64)
        luma, chroma = (quantisation_steps(table, quality) for table in (LUMA, CHROMA))
        self.smallest, self.offset = float(luma.min()), 4 / float(luma[0, 0])
        self.rounding_std = self.smallest / 127.5 / math.sqrt(12)
        weights = (self.smallest / steps for steps in (luma, chroma))
        self.constants = Exact(cosine_transform(), *weights, colours, torch.linalg.inv(colours))

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LinearOperator:
        whole = shape[0] != 3 and shape[1] % 8 == shape[2] % 8 == 0
        return (_GreyJpeg if whole else Jpeg)(self.quality).bound(image_shape=tuple(shape))

    def forward(self, x: Tensor) -> Tensor:
        transform, luma, chroma, to_ycbcr, _ = self.constants.like(x)
        _, c, h, w = x.shape
        unit = 16 if c == 3 else 8
        if h % unit or w % unit:
            x = F.pad(x, (0, -w % unit, 0, -h % unit), mode="replicate")

        def coded(plane: Tensor, weights: Tensor) -> Tensor:
            return (weights * (transform @ split(plane) @ transform.mT)).flatten(4).flatten(1, 3)

        if c != 3:
            return coded(x, luma)
        y, cb_cr = torch.einsum("ij,njhw->nihw", to_ycbcr, x).split((1, 2), 1)
        return torch.cat([coded(y, luma), coded(F.avg_pool2d(cb_cr, 2), chroma)], 1)

    def stored(self, y: Tensor) -> Tensor:
        """y rounded to multiples of the steps, halves away from zero as in libjpeg, which subtracts 128 from grey
        levels and not 127.5. Values within 1e-4 of a half count as one, so that rounding errors do not decide."""
        blocks = y.shape[1]
        offset = torch.zeros(blocks, 64, dtype=y.dtype, device=y.device)
        offset[: 2 * blocks // 3 if self._shape()[0] == 3 else blocks, 0] = self.offset
        z = y * (127.5 / self.smallest) - offset
        return (torch.sign(z) * (z.abs() + 0.5 + 1e-4).floor() + offset) * (self.smallest / 127.5)

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """The decoded picture."""
        transform, luma, chroma, _, to_rgb = self.constants.like(y)
        c, h, w = self._shape()

        def decoded(blocks: Tensor, weights: Tensor, channels: int, rows: int) -> Tensor:
            blocks = (blocks.unflatten(2, (8, 8)) / weights).unflatten(1, (channels, rows, -1))
            return join(transform.mT @ blocks @ transform)

        if c != 3:
            return decoded(y, luma, c, -(-h // 8))[..., :h, :w]
        rows, count = -(-h // 16), 2 * y.shape[1] // 3
        cb_cr = decoded(y[:, count:], chroma, 2, rows).repeat_interleave(2, 2).repeat_interleave(2, 3)
        planes = torch.cat([decoded(y[:, :count], luma, 1, 2 * rows), cb_cr], 1)
        return torch.einsum("ij,njhw->nihw", to_rgb, planes)[..., :h, :w]


class _GreyJpeg(Jpeg, SpectralOperator):
    """Jpeg of channels of whole blocks, where D is orthonormal: the singular values are q_min / q."""

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        _, luma, *_ = self.constants.like(y)
        s = luma.view(1, 1, 1, 64)
        return self.pinv((gain(s) * s).squeeze(1) * y)
