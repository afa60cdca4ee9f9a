"""Phase retrieval: only the magnitude of an image's Fourier transform is measured."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Operator
from rps.randomness import Streams


def centred_fft(x: Tensor) -> Tensor:
    """The orthonormal Fourier transform over the last two dimensions, frequency zero and pixel zero in the middle."""
    dims = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, dims), norm="ortho"), dims)


def centred_ifft(z: Tensor) -> Tensor:
    """The inverse of `centred_fft`."""
    dims = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(z, dims), norm="ortho"), dims)


class PhaseRetrieval(Operator):
    """y = |F P x| per channel, nonlinear: P pads with zeros, F is the centred orthonormal Fourier transform.

    x: [N, C, H, W] -> y: [N, C, H + 2p, W + 2q], p = oversample H / 8, q = oversample W / 8: the published oversample
    of 2 pads 256 pixels by 64 on each side. The image turned by 180 degrees has the same y, and so has its negative
    unless unit_range is set.

    Args:
        oversample: amount of padding, in eighths of the image on each side.
        unit_range: whether to transform (x + 1) / 2, the image in [0, 1], as DAPS does; DPS and others transform x.
        num_steps: number of iterations of the start, see pinv.
    """

    def __init__(self, oversample: float = 2.0, unit_range: bool = False, num_steps: int = 100) -> None:
        super().__init__()
        if not oversample >= 0:
            raise ValueError(f"oversample must be >= 0, got {oversample}")
        if num_steps < 0:
            raise ValueError(f"num_steps must be >= 0, got {num_steps}")
        self.oversample, self.unit_range, self.num_steps = oversample, unit_range, num_steps

    def _padding(self, height: int, width: int) -> tuple[int, int]:
        return int(self.oversample * height / 8), int(self.oversample * width / 8)

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> PhaseRetrieval:
        return self.bound(image_shape=tuple(shape))

    def forward(self, x: Tensor) -> Tensor:
        p, q = self._padding(*x.shape[-2:])
        padded = F.pad((x + 1) / 2 if self.unit_range else x, (q, q, p, p))
        return centred_fft(padded).abs() if len(x) else padded  # the FFT rejects an empty batch

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """A rough start: num_steps iterations of hybrid input-output (Fienup 1982), from phases that are random but
        always the same. In general it is not close to the true image."""
        _, h, w = self._shape()
        if not len(y):
            return y.new_zeros(0, y.shape[1], h, w)
        p, q = self._padding(h, w)
        low = 0.0 if self.unit_range else -1.0
        inside = F.pad(y.new_ones(h, w), (q, q, p, p)).bool()
        turns = Streams(0, ["phase retrieval"], y.device).uniform(y.shape[1:]).to(y)
        x = centred_ifft(torch.polar(y, 2 * math.pi * turns.expand_as(y))).real
        for _ in range(self.num_steps):
            z = centred_fft(x)
            measured = centred_ifft(y * torch.sgn(z)).real
            feasible = inside & (measured >= low) & (measured <= 1)
            x = torch.where(feasible, measured, x - 0.9 * measured)
        image = x[..., p : p + h, q : q + w].clamp(low, 1)
        return 2 * image - 1 if self.unit_range else image
