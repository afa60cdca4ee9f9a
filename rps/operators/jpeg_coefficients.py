"""The cosine coefficients of a JPEG (ITU-T T.81, JFIF)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Gain, LinearOperator, SpectralOperator
from rps.operators.separable import Exact
from rps.randomness import Streams

# Y, Cb, Cr of R, G, B (JFIF).
TO_YCBCR = [
    [0.299, 0.587, 0.114],
    [-0.299 / 1.772, -0.587 / 1.772, 0.5],
    [0.5, -0.587 / 1.402, -0.114 / 1.402],
]


class Compression(NamedTuple):
    """luma, chroma: 64 quantiser steps each, row by row; the columns are the frequencies along the rows. halved: the
    factors by which the height and the width of chroma shrink.
    """

    luma: tuple[int, ...]
    chroma: tuple[int, ...]
    halved: tuple[int, int] = (2, 2)


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


class JpegCoefficients(LinearOperator):
    """y_b = (q_min / q) o (D x_b D^T) for each block x_b of 8 x 8 pixels: the cosine coefficients of a JPEG, which the
    file stores as multiples of their quantiser steps q.  x: [N, C, H, W] -> y: [N, blocks, 64].

    A is linear; what loses information is `stored`, which rounds y. Its error is taken for Gaussian, of variance
    q^2 / 12 in a coefficient, that of the uniform law; a noise added to y comes before the rounding. In x and y 1 is
    127.5 grey levels, and q_min is the smallest step. `pinv` decodes the file, without clipping, whatever its rcond.

    Three channels are coded in colour, with chroma reduced by averaging and enlarged by repetition; any other number as
    grey pictures. Sides that are not a multiple of the block size are padded with their last pixel. x and y are not
    rounded to 8 bits.

    A subclass finds quantiser steps and sampling in `compression`.
    """

    halved: tuple[int, int]
    smallest: float
    offset: float
    constants: Exact

    def compression(self, ids: Sequence[str]) -> Compression:
        """The compression of the samples of these ids, or of any if there are none."""
        raise NotImplementedError(f"{type(self).__name__} must define compression(ids)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LinearOperator:
        *tables, halved = self.compression(streams.ids)
        colours = torch.tensor(TO_YCBCR, dtype=torch.float64)
        steps = torch.tensor(tables, dtype=torch.float64).view(2, 8, 8)
        smallest = float(steps.min())
        made: JpegCoefficients = self.bound(
            image_shape=tuple(shape),
            halved=halved if shape[0] == 3 else (1, 1),
            smallest=smallest,
            offset=4 / float(steps[0, 0, 0]),
            rounding_std=smallest / 127.5 / math.sqrt(12),
            constants=Exact(cosine_transform(), *(smallest / steps), colours, torch.linalg.inv(colours)),
        )
        return made if shape[0] == 3 or shape[1] % 8 or shape[2] % 8 else _GreyJpeg(made)

    def forward(self, x: Tensor) -> Tensor:
        transform, luma, chroma, to_ycbcr, _ = self.constants.like(x)
        (_, c, h, w), (v, u) = x.shape, self.halved
        if h % (8 * v) or w % (8 * u):
            x = F.pad(x, (0, -w % (8 * u), 0, -h % (8 * v)), mode="replicate")

        def coded(plane: Tensor, weights: Tensor) -> Tensor:
            return (weights * (transform @ split(plane) @ transform.mT)).flatten(4).flatten(1, 3)

        if c != 3:
            return coded(x, luma)
        y, cb_cr = torch.einsum("ij,njhw->nihw", to_ycbcr, x).split((1, 2), 1)
        return torch.cat([coded(y, luma), coded(F.avg_pool2d(cb_cr, self.halved), chroma)], 1)

    def stored(self, y: Tensor) -> Tensor:
        """y rounded to multiples of the steps, halves away from zero as in libjpeg, which subtracts 128 from grey
        levels and not 127.5. Values within 1e-4 of a half count as one, so that rounding errors do not decide."""
        offset = torch.zeros(y.shape[1], 64, dtype=y.dtype, device=y.device)
        offset[: self._luma_blocks(y), 0] = self.offset
        z = y * (127.5 / self.smallest) - offset
        return (torch.sign(z) * (z.abs() + 0.5 + 1e-4).floor() + offset) * (self.smallest / 127.5)

    def _luma_blocks(self, y: Tensor) -> int:
        luma = math.prod(self.halved)
        return luma * y.shape[1] // (luma + 2) if self._shape()[0] == 3 else y.shape[1]

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """The decoded picture."""
        transform, luma, chroma, _, to_rgb = self.constants.like(y)
        (c, h, w), (v, u) = self._shape(), self.halved

        def decoded(blocks: Tensor, weights: Tensor, channels: int, rows: int) -> Tensor:
            blocks = (blocks.unflatten(2, (8, 8)) / weights).unflatten(1, (channels, rows, -1))
            return join(transform.mT @ blocks @ transform)

        if c != 3:
            return decoded(y, luma, c, -(-h // 8))[..., :h, :w]
        rows, count = -(-h // (8 * v)), self._luma_blocks(y)
        cb_cr = decoded(y[:, count:], chroma, 2, rows).repeat_interleave(v, 2).repeat_interleave(u, 3)
        planes = torch.cat([decoded(y[:, :count], luma, 1, v * rows), cb_cr], 1)
        return torch.einsum("ij,njhw->nihw", to_rgb, planes)[..., :h, :w]


class _GreyJpeg(SpectralOperator):
    """Bound JpegCoefficients of grey, whole blocks, where D is orthonormal: the singular values are q_min / q."""

    def __init__(self, jpeg: JpegCoefficients) -> None:
        super().__init__()
        self.jpeg, self.image_shape, self.rounding_std = jpeg, jpeg.image_shape, jpeg.rounding_std

    def forward(self, x: Tensor) -> Tensor:
        return self.jpeg(x)

    def stored(self, y: Tensor) -> Tensor:
        return self.jpeg.stored(y)

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        return self.jpeg.pinv(y)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        _, luma, *_ = self.jpeg.constants.like(y)
        s = luma.view(1, 1, 1, 64)
        return self.jpeg.pinv((gain(s) * s).squeeze(1) * y)
