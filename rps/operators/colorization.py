"""Colorization: only the brightness of each pixel is measured."""

from __future__ import annotations

from torch import Tensor

from rps.operators.base import Gain, SpectralOperator


class Colorization(SpectralOperator):
    """y = mean of the channels of each pixel.  x: [N, C, H, W] -> y: [N, 1, H, W].

    A A^T = I / C: every singular value is 1 / sqrt(C), and A^+ writes the mean into every channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        c = self._shape()[0]
        # A^T y = y / C in every channel = V S U^T y with S = 1 / sqrt(C), so V U^T y = y / sqrt(C).
        return gain(y.new_full((1, 1, 1, 1), c**-0.5)) * c**-0.5 * y.expand(-1, c, -1, -1)
