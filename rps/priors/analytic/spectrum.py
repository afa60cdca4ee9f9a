"""Spectrum: the singular value decomposition in whose coordinates the low-rank posterior is computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rps.priors.analytic.mixture import matvec, select_rows


@dataclass(frozen=True)
class Spectrum:
    """A = W diag(a) V^T with p singular values, one per row, or one for all rows (N = 1).

    If no pixel is measured twice (masks, mean pooling), W is the identity and V has one entry per pixel, so V^T x costs
    D operations and not p D.

    values a: [N, p]; directions with a = 0 are ignored. left W: [N, m, p], or None for the identity. right: V^T
    [N, p, D], or the one entry of each pixel [N, D], which belongs to row `place` [N, D] of V^T.
    """

    values: Tensor
    left: Tensor | None
    right: Tensor
    place: Tensor | None

    @classmethod
    def of(cls, matrix: Tensor) -> Spectrum:
        """The decomposition of the matrix A: [N, m, D]."""
        present = matrix != 0
        if bool((present.sum(1) <= 1).all()):
            values, place = torch.linalg.vector_norm(matrix, dim=2), present.long().argmax(1)
            entries = matrix.gather(1, place.unsqueeze(1)).squeeze(1)
            return cls(values, None, entries / torch.where(values > 0, values, 1.0).gather(1, place), place)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        small = torch.finfo(values.dtype).eps * matrix.shape[2] * values[:, :1]
        return cls(torch.where(values > small, values, 0.0), left, right, None)

    def measured(self, y: Tensor) -> Tensor:
        """W^T y.  [N, m] -> [N, p]."""
        return y if self.left is None else matvec(self.left.mT, y)

    def forward(self, x: Tensor) -> Tensor:
        """V^T X.  [N or 1, D, B] -> [N, p, B]."""
        if self.place is None:
            return self.right[0] @ x if len(self.right) == 1 else self.right @ (x[0] if len(x) == 1 else x)
        terms = self.right.unsqueeze(-1) * x
        empty = terms.new_zeros(len(terms), self.values.shape[1], terms.shape[2])
        return empty.scatter_add(1, self.place.unsqueeze(-1).expand_as(terms), terms)

    def back(self, z: Tensor) -> Tensor:
        """V Z.  [N, p, B] -> [N, D, B]."""
        if self.place is None:
            return (self.right[0].mT if len(self.right) == 1 else self.right.mT) @ z
        place = self.place.unsqueeze(-1).expand(len(z), -1, z.shape[2])
        return self.right.unsqueeze(-1) * z.gather(1, place)

    def rows(self, index: Tensor | slice) -> Spectrum:
        left, place = (None if v is None else select_rows(v, index) for v in (self.left, self.place))
        return Spectrum(select_rows(self.values, index), left, select_rows(self.right, index), place)
