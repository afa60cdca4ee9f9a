"""Super-resolution: every measured pixel is the mean of a square of image pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator
from rps.randomness import Streams


class SuperResolution(SpectralOperator):
    """y = mean of each factor x factor square of x.  x: [N, C, H, W] -> y: [N, C, ceil(H/factor), ceil(W/factor)].

    If factor does not divide H or W, the squares at the lower or right border are cut off by it: their mean is that of
    the pixels they have. A pixel of n image pixels has the singular value 1 / sqrt(n), and A^+ repeats it n times.

    Args:
        factor: factor by which height and width shrink.
    """

    def __init__(self, factor: int = 4) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be >= 1, got {factor}")
        self.factor = factor

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> SuperResolution:
        return self.bound(image_shape=tuple(shape))

    def image_shape_of(self, picture: tuple[int, int, int]) -> tuple[int, int, int]:
        return picture[0], self.factor * picture[1], self.factor * picture[2]

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor, ceil_mode=True)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        r = self.factor
        _, c, h, w = y.shape
        _, height, width = self.image_shape or self.image_shape_of((c, h, w))
        # The image pixels of each measured one; a single number if it is the same for all.
        rows, columns = ((n - r * torch.arange(-(-n // r)).to(y)).clamp(max=r) for n in (height, width))
        s = 1 / torch.outer(rows, columns).sqrt()[None, None]
        s = s[..., :1, :1] if height % r == width % r == 0 else s
        # A^T y = s^2 y repeated = V S U^T y with S = s, so V U^T y = s y repeated.
        repeated = (gain(s) * s * y).repeat_interleave(r, dim=2).repeat_interleave(r, dim=3)
        return repeated[..., :height, :width]

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        """Each pixel repeated; that amplifies no noise, so `rcond` has no effect."""
        return self.spectral(y, lambda s: 1 / s)
