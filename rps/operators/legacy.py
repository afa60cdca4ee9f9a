"""Operators of published code that differ from those in the papers. For comparison with published numbers only."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator
from rps.operators.blur import convolution_matrix, gaussian_taps
from rps.operators.separable import Exact, Separable, factors
from rps.randomness import Streams


class LegacyAnisotropicBlur(Separable):
    """The anisotropic blur as run by DDRM, DDNM, MAP-RPS and others. It is not a convolution; use AnisotropicBlur.

    The last of the 9 taps is lost (a constant image is darkened to .89), the border is dark (zeros), and singular
    values of H_v and H_h below 3e-2 are zero in A itself. With several channels, the singular values are also assigned
    in the wrong order: with ranks 0 .. P - 1, descending, over the P pixels, coefficient p of channel c gets the value
    of rank (C p + c) mod P instead of p.

    Args:
        taps: length of both kernels, odd.
        std_vertical: standard deviation along the columns, in pixels.
        std_horizontal: standard deviation along the rows, in pixels.
        wrong_order: whether the singular values are in the wrong order.
    """

    values: Exact

    def __init__(
        self, taps: int = 9, std_vertical: float = 1.0, std_horizontal: float = 20.0, wrong_order: bool = True
    ) -> None:
        super().__init__()
        self.vertical, self.horizontal = gaussian_taps(taps, std_vertical), gaussian_taps(taps, std_horizontal)
        self.taps, self.std_vertical, self.std_horizontal = taps, std_vertical, std_horizontal
        self.wrong_order = wrong_order

    def matrices(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        v, h = [*self.vertical[:-1], 0.0], [*self.horizontal[:-1], 0.0]
        return convolution_matrix(v, height, "zeros"), convolution_matrix(h, width, "zeros")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Separable:
        c = shape[0]
        axes = [factors(matrix) for matrix in self.matrices(shape[1], shape[2])]
        s_v, s_h = (torch.where(axis.exact[2] < 3e-2, 0.0, axis.exact[2]) for axis in axes)
        s = torch.outer(s_v, s_h)
        descending, order = s.flatten().sort(descending=True, stable=True)
        values = s.expand(c, -1, -1)
        if self.wrong_order:
            dealt = torch.arange(c * s.numel()).view(-1, c).T % s.numel()
            values = torch.empty(c, s.numel(), dtype=s.dtype)
            values[:, order] = descending[dealt]
        return self.bound(
            image_shape=tuple(shape), axes=tuple(axes), values=Exact(values.reshape(1, c, *s.shape).contiguous())
        )

    def singular_values(self, y: Tensor) -> Tensor:
        return self.values.like(y)[0]

    def forward(self, x: Tensor) -> Tensor:
        (_, u_v, _, v_v), (_, u_h, _, v_h) = self._like(x)
        return u_v @ (self.singular_values(x) * (v_v.mT @ (x @ v_h))) @ u_h.mT

    def adjoint(self, y: Tensor) -> Tensor:
        return self.spectral(y, lambda s: s)


class LegacyInpaint(SpectralOperator):
    """The "50 %" inpainting as run by MAP-RPS: it removes 16.7 % of the numbers of a colour image.  y: [N, m].

    In the order row, column, channel, a random half of the first H W numbers is missing: single channels of pixels, all
    in the top third. A A^T = I: every singular value is 1. Published with one mask for
    the run: Shared(LegacyInpaint()). Use Inpaint for whole pixels.
    """

    per_sample = ("index",)
    index: Tensor
    """Measured numbers of each image, ascending, in the order row, column, channel.  int64 [N, m]."""

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> LegacyInpaint:
        c, h, w = shape
        top = streams.at("mask").permutation(h * w)[:, h * w // 2 :].sort(dim=1).values
        rest = torch.arange(h * w, c * h * w, device=top.device).expand(len(top), -1)
        return self.bound(image_shape=tuple(shape), index=torch.cat([top, rest], 1))

    def _checked_index(self, batch: Tensor) -> Tensor:
        self._shape()
        self.check_rows(batch)
        return self.index.to(batch.device)

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1).gather(1, self._checked_index(x))

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        c, h, w = self._shape()
        numbers = y.new_zeros(len(y), c * h * w).scatter(1, self._checked_index(y), y)
        return gain(y.new_ones(1, 1, 1, 1)) * numbers.view(-1, h, w, c).permute(0, 3, 1, 2)
