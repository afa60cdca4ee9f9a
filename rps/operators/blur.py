"""Separable blur: one kernel down the columns, one along the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from rps.operators.padding import mirror
from rps.operators.separable import Separable

Padding = Literal["reflect", "zeros"]


def gaussian_taps(taps: int, std: float) -> list[float]:
    """exp(-k^2 / (2 std^2)) for k = -(taps - 1) / 2 .. (taps - 1) / 2, divided by its sum.  std: in pixels."""
    if taps < 1 or taps % 2 == 0:
        raise ValueError(f"taps must be odd and >= 1, so that the kernel has a centre, got {taps}")
    if not std > 0:
        raise ValueError(f"the standard deviation of a blur must be > 0 pixels, got {std}")
    weights = [math.exp(-((k - taps // 2) ** 2) / (2 * std**2)) for k in range(taps)]
    return [weight / sum(weights) for weight in weights]


def convolution_matrix(taps: Sequence[float], size: int, padding: Padding) -> Tensor:
    """H with (H x)_i = sum_k taps_k x_{i + k - len(taps) // 2}.  -> float64 [size, size].

    Padding "reflect" continues the border as x_2 x_1 | x_0 x_1 x_2 (as torch and numpy do), "zeros" with zeros.
    """
    row = torch.arange(size).unsqueeze(1).expand(size, len(taps))
    column = row + torch.arange(len(taps)) - len(taps) // 2
    weight = torch.tensor(list(taps), dtype=torch.float64).expand(size, -1)
    if padding == "reflect":
        column = mirror(column, size)
    inside = (column >= 0) & (column < size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.index_put_((row[inside], column[inside]), weight[inside], accumulate=True)


class SeparableBlur(Separable):
    """y = H_v x H_h^T per channel, (H x)_i = sum_k taps_k x_{i + k - r}, r = (len(taps) - 1) / 2.  x, y: [N, C, H, W].

    Args:
        vertical: taps of the kernel along the columns, an odd number of them; not normalised.
        horizontal: taps of the kernel along the rows, an odd number of them; not normalised.
        padding: extension beyond the border: "reflect" mirrors the image about its outermost pixels, so that taps
            that sum to 1 leave a constant image constant; "zeros" darkens the border.
    """

    def __init__(self, vertical: Sequence[float], horizontal: Sequence[float], padding: Padding = "reflect") -> None:
        super().__init__()
        for name, taps in (("vertical", vertical), ("horizontal", horizontal)):
            if len(taps) % 2 == 0:
                raise ValueError(f"{name} must have an odd number of taps, so that it has a centre, got {len(taps)}")
        if padding not in ("reflect", "zeros"):
            raise ValueError(f"padding must be reflect or zeros, got {padding!r}")
        self.vertical, self.horizontal, self.padding = list(vertical), list(horizontal), padding

    def matrices(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return (
            convolution_matrix(self.vertical, height, self.padding),
            convolution_matrix(self.horizontal, width, self.padding),
        )


class AnisotropicBlur(SeparableBlur):
    """The blur of MAP-RPS, DDRM and DDNM: truncated Gaussians of two widths, each normalised to sum 1.

    This is the blur that the papers state. The published code loses the last tap, pads with zeros and drops small
    singular values inside A; LegacyAnisotropicBlur reproduces it.

    Args:
        taps: length of both kernels, odd.
        std_vertical: standard deviation along the columns, in pixels.
        std_horizontal: standard deviation along the rows, in pixels.
        padding: see SeparableBlur.
    """

    def __init__(
        self,
        taps: int = 9,
        std_vertical: float = 1.0,
        std_horizontal: float = 20.0,
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(gaussian_taps(taps, std_vertical), gaussian_taps(taps, std_horizontal), padding)
        self.taps, self.std_vertical, self.std_horizontal = taps, std_vertical, std_horizontal


class GaussianBlur(SeparableBlur):
    """An isotropic Gaussian blur, normalised to sum 1: the Gaussian deblurring of DPS and DAPS.

    Args:
        taps: height and width of the kernel, odd.
        std: standard deviation, in pixels.
        padding: see SeparableBlur.
    """

    def __init__(self, taps: int = 61, std: float = 3.0, padding: Padding = "reflect") -> None:
        super().__init__(gaussian_taps(taps, std), gaussian_taps(taps, std), padding)
        self.taps, self.std = taps, std


class UniformBlur(SeparableBlur):
    """The mean of a taps x taps square around each pixel: the uniform deblurring of DDRM.

    Args:
        taps: height and width of the square, odd.
        padding: see SeparableBlur.
    """

    def __init__(self, taps: int = 9, padding: Padding = "reflect") -> None:
        if taps < 1 or taps % 2 == 0:
            raise ValueError(f"taps must be odd and >= 1, so that the kernel has a centre, got {taps}")
        super().__init__([1.0 / taps] * taps, [1.0 / taps] * taps, padding)
        self.taps = taps
