"""Mixture, the base class of laws of images whose mean, covariance, density and draws are known."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import Self


class Mixture:
    """p(x) = sum_k pi_k p_k(x), one mixture per row; with N = 1, all rows share it. Images are flat, [N, D].

    log_weights: [N, K], not necessarily normalised. means: [N, K, D]. noises: number of normals that a draw needs.
    Subclasses define p_k.
    """

    log_weights: Tensor
    means: Tensor

    @property
    def noises(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define noises, the number of normals that a draw needs")

    def rows(self, index: Tensor | slice) -> Self:
        """The mixtures of some rows (a row may be taken more than once)."""
        raise NotImplementedError(f"{type(self).__name__} must define rows(index)")

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """One draw per row; uniform chooses the component.  uniform: [N, 1], normal: [N, noises] -> [N, D]."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(uniform, normal)")

    def given_noisy(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Mixture:
        """p(x_0 | x_t) for x_t = alpha x_0 + sigma eps.  x: [N, D], alpha, sigma: [N, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form given x_t; condition the prior on x_t")

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), exact.  x: [N, D], or [N, M, D] for M images per row -> [N] or [N, M]."""
        raise NotImplementedError(f"{type(self).__name__} must define log_density(x)")

    def covariance(self) -> Tensor:
        """Cov[x] = sum_k pi_k (S_k + m_k m_k^T) - m m^T.  -> [N, D, D], for small images."""
        raise NotImplementedError(f"{type(self).__name__} must define covariance()")

    def trace(self) -> Tensor:
        """Tr Cov[x], the least mean squared error per image if p is a posterior.  -> [N]."""
        raise NotImplementedError(f"{type(self).__name__} must define trace()")

    def covariance_times(self, v: Tensor) -> Tensor:
        """Cov[x] v.  v: [N, D, B] -> [N, D, B]."""
        return self.covariance() @ v

    def covariance_square(self) -> Tensor:
        """||Cov[x]||_F^2.  -> [N]."""
        return self.covariance().square().sum((1, 2))

    def fourth(self) -> Tensor:
        """E|x - E[x]|^4.  -> [N]."""
        raise NotImplementedError(f"{type(self).__name__} must define fourth()")

    @property
    def weights(self) -> Tensor:
        """pi_k, normalised.  -> [N, K]."""
        return torch.softmax(self.log_weights, dim=1)

    def mean(self) -> Tensor:
        """E[x].  -> [N, D]."""
        return matvec(self.means.mT, self.weights)

    def components(self, uniform: Tensor) -> Tensor:
        """The component of each row: the first k whose cumulative weight reaches u.  uniform: [N, 1] -> [N]."""
        cumulative = torch.cumsum(self.weights, dim=1)
        return (uniform > cumulative).sum(1).clamp(max=cumulative.shape[1] - 1)

    def offsets(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(pi_k [K], m_k - m [K, D]) of each row, one at a time, because a row needs the memory of K images."""
        for row, (weights, mean) in enumerate(zip(self.weights, self.mean(), strict=False)):
            yield weights, take_row(self.means, row) - mean

    def spread(self) -> Tensor:
        """sum_k pi_k |m_k - m|^2, the part of the trace that lies between the components.  -> [N]."""
        return torch.stack([w @ offset.square().sum(-1) for w, offset in self.offsets()])

    def between(self) -> Tensor:
        """sum_k pi_k (m_k - m)(m_k - m)^T.  -> [N, D, D]."""
        return torch.stack([(w.unsqueeze(1) * offset).mT @ offset for w, offset in self.offsets()])


def take_row(tensor: Tensor, row: int) -> Tensor:
    """A row of a tensor, or its only row if all rows share it."""
    return tensor[row if len(tensor) > 1 else 0]


def select_rows(tensor: Tensor, index: Tensor | slice) -> Tensor:
    """Some rows of a tensor, or the whole tensor if it has one row that all share."""
    return tensor[index] if len(tensor) > 1 else tensor


def matvec(matrix: Tensor, vector: Tensor) -> Tensor:
    """M v for each row, without copies of M if all rows share it.  matrix: [N or 1, a, b], vector: [N, b]."""
    if len(matrix) == 1:
        return vector @ matrix[0].mT
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)
