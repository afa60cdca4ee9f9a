"""Separable linear operators: one matrix acts on the columns of an image, one on its rows."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.operators.base import Gain, SpectralOperator
from rps.randomness import Streams


class Exact:
    """Tensors in float64, with a cache of their casts to other devices and dtypes."""

    def __init__(self, *tensors: Tensor) -> None:
        self.exact = tensors
        self.casts: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = {}

    def like(self, x: Tensor) -> tuple[Tensor, ...]:
        """The tensors on the device and in the dtype of x."""
        key = (x.device, x.dtype)
        if key not in self.casts:
            self.casts[key] = tuple(tensor.to(x) for tensor in self.exact)
        return self.casts[key]


def factors(matrix: Tensor) -> Exact:
    """(H, U, s, V) such that H = U diag(s) V^T.  H: [m, n] -> [m, n], [m, k], [k], [n, k], k = min(m, n)."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return Exact(matrix, u, s, vt.mT)


class Separable(SpectralOperator):
    """y = H_v x H_h^T per channel.  x: [N, C, H, W], H_v: [H', H], H_h: [W', W] -> y: [N, C, H', W'].

    The singular values are s_i(H_v) s_j(H_h). Those below eps^(2/3) of the largest (2e-5 in float32, 4e-11 in float64)
    count as zero, because 1/s would amplify rounding errors; A A^+ A = A and A^+ A A^+ = A^+ then hold as well as they
    can. A subclass defines `matrices`.
    """

    axes: tuple[Exact, Exact]

    def matrices(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """(H_v, H_h) for images of this size, in float64."""
        raise NotImplementedError(f"{type(self).__name__} must define matrices(height, width)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Separable:
        vertical, horizontal = self.matrices(shape[1], shape[2])
        return self.bound(image_shape=tuple(shape), axes=(factors(vertical), factors(horizontal)))

    def _like(self, x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        self._shape()
        return self.axes[0].like(x), self.axes[1].like(x)

    def singular_values(self, y: Tensor) -> Tensor:
        """s_i(H_v) s_j(H_h), like y.  -> [1, 1, I, J]."""
        (_, _, s_v, _), (_, _, s_h, _) = self._like(y)
        return torch.outer(s_v, s_h).view(1, 1, len(s_v), len(s_h))

    def forward(self, x: Tensor) -> Tensor:
        (h_v, *_), (h_h, *_) = self._like(x)
        return h_v @ (x @ h_h.mT)

    def adjoint(self, y: Tensor) -> Tensor:
        (h_v, *_), (h_h, *_) = self._like(y)
        return h_v.mT @ (y @ h_h)

    def spectral(self, y: Tensor, gain: Gain) -> Tensor:
        (_, u_v, _, v_v), (_, u_h, _, v_h) = self._like(y)
        s = self.singular_values(y)
        present = s > torch.finfo(s.dtype).eps ** (2 / 3) * s.max()
        f = torch.where(present, gain(torch.where(present, s, s.max())), torch.zeros_like(s))
        return v_v @ (f * (u_v.mT @ (y @ u_h))) @ v_h.mT
