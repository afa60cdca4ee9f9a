"""Super-resolution: every measured pixel is the mean of a square of image pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator, check_divisible
from rps.randomness import Streams


class SuperResolution(SpectralOperator):
    """y = mean of each factor x factor square of x.  x: [N, C, H, W] -> y: [N, C, H / factor, W / factor].

    A A^T = I / factor^2: every singular value is 1 / factor, and A^+ repeats each pixel factor x factor times.

    Args:
        factor: factor by which height and width shrink; both must be divisible by it.
    """

    def __init__(self, factor: int = 4) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be >= 1, got {factor}")
        self.factor = factor

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> SuperResolution:
        check_divisible(self, shape, self.factor)
        return self.bound(image_shape=tuple(shape))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        n, c, h, w = y.shape
        r = self.factor
        repeated = y.view(n, c, h, 1, w, 1).expand(n, c, h, r, w, r).reshape(n, c, h * r, w * r)
        # A^T y = repeated / r^2 = V S U^T y with S = 1 / r, so V U^T y = repeated / r.
        return gain(y.new_full((1, 1, 1, 1), 1.0 / r)) / r * repeated
