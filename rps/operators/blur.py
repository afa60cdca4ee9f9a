"""Separable blur: one kernel down the columns, one along the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator
from rps.randomness import Streams

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

    Beyond the border, "reflect" continues x_2 x_1 | x_0 x_1 x_2 (as torch and numpy do), "zeros" with zeros.
    """
    row = torch.arange(size).unsqueeze(1).expand(size, len(taps))
    column = row + torch.arange(len(taps)) - len(taps) // 2
    weight = torch.tensor(list(taps), dtype=torch.float64).expand(size, -1)
    if padding == "reflect":
        period = max(2 * (size - 1), 1)
        column = column % period
        column = torch.minimum(column, period - column) if size > 1 else torch.zeros_like(column)
    inside = (column >= 0) & (column < size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.index_put_((row[inside], column[inside]), weight[inside], accumulate=True)


class Axis:
    """H = U diag(s) V^T of one axis, in float64 and as cast to the devices and dtypes that were asked for."""

    def __init__(self, matrix: Tensor) -> None:
        u, s, vt = torch.linalg.svd(matrix)
        self.exact = (matrix, u, s, vt.mT)
        self.casts: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def like(self, x: Tensor) -> tuple[Tensor, ...]:
        """(H, U, s, V) on the device and in the dtype of x."""
        key = (x.device, x.dtype)
        if key not in self.casts:
            self.casts[key] = tuple(tensor.to(x) for tensor in self.exact)
        return self.casts[key]


class SeparableBlur(SpectralOperator):
    """y = H_v x H_h^T per channel, (H x)_i = sum_k taps_k x_{i + k - r}, r = (len(taps) - 1) / 2.  x, y: [N, C, H, W].

    Singular values s_i(H_v) s_j(H_h). Those below eps^(2/3) of the largest (2e-5 in float32, 4e-11 in float64) count
    as zero: there 1/s would blow rounding errors up, and both A A^+ A = A and A^+ A A^+ = A^+ hold as well as they can.

    Args:
        vertical: taps of the kernel down the columns, an odd number of them; used as given, not normalised.
        horizontal: taps along the rows.
        padding: what lies beyond the border: "reflect" mirrors the image about its outermost pixels, so that taps
            which sum to 1 leave a constant image constant; "zeros" darkens the border.
    """

    axes: tuple[Axis, Axis]

    def __init__(self, vertical: Sequence[float], horizontal: Sequence[float], padding: Padding = "reflect") -> None:
        super().__init__()
        for name, taps in (("vertical", vertical), ("horizontal", horizontal)):
            if len(taps) % 2 == 0:
                raise ValueError(f"{name} must have an odd number of taps, so that it has a centre, got {len(taps)}")
        if padding not in ("reflect", "zeros"):
            raise ValueError(f"padding must be reflect or zeros, got {padding!r}")
        self.vertical, self.horizontal, self.padding = list(vertical), list(horizontal), padding

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> SeparableBlur:
        _, h, w = shape
        vertical = Axis(convolution_matrix(self.vertical, h, self.padding))
        horizontal = Axis(convolution_matrix(self.horizontal, w, self.padding))
        return self.bound(image_shape=tuple(shape), axes=(vertical, horizontal))

    def _like(self, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        self._shape()
        return self.axes[0].like(x), self.axes[1].like(x)

    def forward(self, x: Tensor) -> Tensor:
        (h_v, *_), (h_h, *_) = self._like(x)
        return h_v @ (x @ h_h.mT)

    def adjoint(self, y: Tensor) -> Tensor:
        (h_v, *_), (h_h, *_) = self._like(y)
        return h_v.mT @ (y @ h_h)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        (_, u_v, s_v, v_v), (_, u_h, s_h, v_h) = self._like(y)
        s = torch.outer(s_v, s_h).view(1, 1, len(s_v), len(s_h))
        present = s > torch.finfo(s.dtype).eps ** (2 / 3) * s.max()
        f = torch.where(present, gain(torch.where(present, s, s.max())), torch.zeros_like(s))
        return v_v @ (f * (u_v.mT @ (y @ u_h))) @ v_h.mT


class AnisotropicBlur(SeparableBlur):
    """The blur of MAP-RPS, DDRM and DDNM: truncated Gaussians of two widths, each normalised to sum 1.

    The published code loses the last tap, pads with zeros and drops small singular values inside A; this is the blur
    that the papers state.

    Args:
        taps: length of both kernels, odd.
        std_vertical: standard deviation down the columns, in pixels.
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
