"""Compressed sensing: some of the Walsh-Hadamard coefficients of an image are measured."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator
from rps.randomness import Streams


def walsh_hadamard(x: Tensor) -> Tensor:
    """H x / sqrt(n) along the last dimension, H_2n = [[H_n, H_n], [H_n, -H_n]]; orthonormal, and its own inverse.

    x: [..., n], n a power of two -> the same shape, in n log2 n additions.
    """
    n, half = x.shape[-1], 1
    y = x
    while half < n:
        a, b = y.unflatten(-1, (n // (2 * half), 2, half)).unbind(-2)
        y = torch.stack([a + b, a - b], -2).flatten(-3)
        half *= 2
    return y / n**0.5


class CompressedSensing(SpectralOperator):
    """y = m of the orthonormal Walsh-Hadamard coefficients of each channel.  x: [N, C, H, W] -> y: [N, C, m].

    m = H W / ratio. The choice is random and the same for all channels. A A^T = I: every singular value is 1.

    Args:
        ratio: ratio of all coefficients to measured ones; 2 or 4 in the paper.
    """

    per_sample = ("index",)
    index: Tensor
    """Measured coefficients of each image, ascending.  int64 [N, m]."""

    def __init__(self, ratio: int = 2) -> None:
        super().__init__()
        if ratio < 1:
            raise ValueError(f"ratio must be >= 1, got {ratio}")
        self.ratio = ratio

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> CompressedSensing:
        pixels = shape[1] * shape[2]
        if pixels & (pixels - 1):
            raise ValueError(
                "CompressedSensing needs images whose height times width is a power of two, "
                f"got {shape[1]} x {shape[2]}"
            )
        if pixels < self.ratio:
            raise ValueError(
                f"CompressedSensing(ratio={self.ratio}) leaves no coefficient of a {shape[1]} x {shape[2]} image; "
                "choose a smaller ratio"
            )
        index = streams.at("permutation").permutation(pixels)[:, : pixels // self.ratio].sort(dim=1).values
        return self.bound(image_shape=tuple(shape), index=index)

    def _expanded_index(self, batch: Tensor) -> Tensor:
        self._shape()
        self.check_rows(batch)
        return self.index.to(batch.device).unsqueeze(1).expand(-1, batch.shape[1], -1)

    def forward(self, x: Tensor) -> Tensor:
        return walsh_hadamard(x.flatten(2)).gather(2, self._expanded_index(x))

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        _, h, w = self._shape()
        coefficients = y.new_zeros(*y.shape[:2], h * w).scatter(2, self._expanded_index(y), y)
        return gain(y.new_ones(1, 1, 1, 1)) * walsh_hadamard(coefficients).unflatten(2, (h, w))
