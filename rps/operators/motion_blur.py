"""Motion blur from a shaking camera."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.operators.base import LinearOperator
from rps.operators.motion_kernel import motion_kernels
from rps.operators.padding import mirror
from rps.randomness import Streams


class MotionBlur(LinearOperator):
    """y_i = sum_k kernel_k x_{i + k - r} per channel, r = (taps - 1) / 2, mirrored borders.  x, y: [N, C, H, W].

    The kernel is random (see motion_kernels). Computed with FFTs, because a direct convolution with 61 x 61 taps takes
    more than five times as long.

    Args:
        taps: height and width of the kernel, odd; published 61 for images of 256 pixels, use fewer for smaller ones.
        intensity: amount of shake, from 0 (motion along a line) to 1.
    """

    per_sample = ("kernel",)
    kernel: Tensor
    """The kernel of each image, sum 1.  float64 [N, 1, taps, taps]."""

    def __init__(self, taps: int = 61, intensity: float = 0.5) -> None:
        super().__init__()
        if taps < 3 or taps % 2 == 0:
            raise ValueError(f"taps must be odd and >= 3, so that the kernel has a centre, got {taps}")
        if not 0 <= intensity <= 1:
            raise ValueError(f"intensity must be in [0, 1], got {intensity}")
        self.taps, self.intensity = taps, intensity

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> MotionBlur:
        kernel = motion_kernels(streams.at("kernel"), self.taps, self.intensity)
        return self.bound(image_shape=tuple(shape), kernel=kernel)

    def forward(self, x: Tensor) -> Tensor:
        _, h, w = self._shape()
        self.check_rows(x)
        if not len(x):
            return x.clone()  # the FFT rejects an empty batch
        border = self.taps // 2

        def outward(size: int) -> Tensor:
            return mirror(torch.arange(-border, size + border, device=x.device), size)

        padded = x[..., outward(h), :][..., outward(w)]
        size = padded.shape[-2:]
        transfer = torch.fft.rfft2(self.kernel.to(x), size).conj()
        return torch.fft.irfft2(transfer * torch.fft.rfft2(padded), size)[..., :h, :w]
