"""Bicubic super-resolution: a cubic filter widened by the factor, then every factor-th pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.operators.padding import mirror
from rps.operators.separable import Separable


def cubic(t: Tensor, a: float = -0.5) -> Tensor:
    """The cubic convolution kernel of Keys (1981): (a + 2) |t|^3 - (a + 3) t^2 + 1 for |t| <= 1, and a tail to 2."""
    t = t.abs()
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))


def bicubic_matrix(size: int, factor: int) -> Tensor:
    """The matrix whose row o has 4 factor taps cubic((j - c) / factor) about the centre c of output pixel o, sum 1.

    -> float64 [ceil(size / factor), size]. The image is mirrored at the border, and its outermost pixel repeated.
    """
    centre = (torch.arange(-(-size // factor), dtype=torch.float64).unsqueeze(1) + 0.5) * factor - 0.5
    column = centre.floor().long() + torch.arange(1 - 2 * factor, 2 * factor + 1)
    weight = cubic((column - centre) / factor)
    weight = weight / weight.sum(1, keepdim=True)
    row = torch.arange(len(column)).unsqueeze(1).expand_as(column)
    matrix = torch.zeros(len(column), size, dtype=torch.float64)
    return matrix.index_put_((row, mirror(column, size, repeat_edge=True)), weight, accumulate=True)


class BicubicSuperResolution(Separable):
    """y = x shrunk by an antialiased cubic filter (a = -0.5).

    x: [N, C, H, W] -> y: [N, C, ceil(H / factor), ceil(W / factor)]. In the interior this is imresize of MATLAB and the
    bicubic resize of Pillow; the border is mirrored, as in DDRM.

    Args:
        factor: factor by which height and width shrink.
    """

    def __init__(self, factor: int = 4) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"factor must be >= 1, got {factor}")
        self.factor = factor

    def image_shape_of(self, picture: tuple[int, int, int]) -> tuple[int, int, int]:
        return picture[0], self.factor * picture[1], self.factor * picture[2]

    def matrices(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return bicubic_matrix(height, self.factor), bicubic_matrix(width, self.factor)
