"""Gaussian mixtures, and the prior that they define."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.analytic.base import AnalyticPrior, dense
from rps.priors.analytic.mixture import Mixture, select_rows
from rps.schedule import Schedule


@dataclass(frozen=True)
class GaussianMixture(Mixture):
    """p(x) = sum_k pi_k N(x; m_k, S_k), one mixture per row; with N = 1, all rows share it.

    log_weights: [N, K], not necessarily normalised. means: [N, K, D].
    vectors, values: S_k = Q diag(l) Q^T with Q [N, K, D, D] (columns are eigenvectors) and l [N, K, D].
    """

    log_weights: Tensor
    means: Tensor
    vectors: Tensor
    values: Tensor

    @classmethod
    def from_covariances(cls, log_weights: Tensor, means: Tensor, covariances: Tensor) -> GaussianMixture:
        """The mixture with these covariances: [N, K, D, D], symmetric positive semi-definite."""
        values, vectors = torch.linalg.eigh(covariances)
        return cls(log_weights, means, vectors, values.clamp(min=0))

    @property
    def noises(self) -> int:
        return self.means.shape[2]

    def covariances(self) -> Tensor:
        """S_k.  -> [N, K, D, D]."""
        return self.vectors @ (self.values.unsqueeze(-1) * self.vectors.mT)

    def covariance(self) -> Tensor:
        return (self.weights[..., None, None] * self.covariances()).sum(1) + self.between()

    def trace(self) -> Tensor:
        return (self.weights * self.values.sum(-1)).sum(1) + self.spread()

    def fourth(self) -> Tensor:
        """sum_k pi_k ((|d|^2 + Tr S)^2 + 2 ||S||_F^2 + 4 d^T S d), d = m_k - m."""
        offset = self.means - self.mean().unsqueeze(1)
        size = offset.square().sum(-1) + self.values.sum(-1)
        across = (offset.unsqueeze(-2) @ self.covariances() @ offset.unsqueeze(-1)).flatten(1)
        return (self.weights * (size**2 + 2 * self.values.square().sum(-1) + 4 * across)).sum(1)

    def log_density(self, x: Tensor) -> Tensor:
        """log sum_k pi_k N(x; m_k, S_k), for nonsingular S_k."""
        many = x if x.ndim == 3 else x.unsqueeze(1)
        delta = many.unsqueeze(2) - self.means.unsqueeze(1)
        coordinates = (self.vectors.mT.unsqueeze(1) @ delta.unsqueeze(-1)).squeeze(-1)
        values = self.values.unsqueeze(1)
        each = -0.5 * (coordinates**2 / values + values.log() + math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(torch.log_softmax(self.log_weights, 1).unsqueeze(1) + each, dim=2).view(x.shape[:-1])

    def rows(self, index: Tensor | slice) -> GaussianMixture:
        fields = (self.log_weights, self.means, self.vectors, self.values)
        return GaussianMixture(*(select_rows(v, index) for v in fields))

    def to(self, like: Tensor) -> GaussianMixture:
        return GaussianMixture(*(v.to(like) for v in (self.log_weights, self.means, self.vectors, self.values)))

    def given_noisy(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> GaussianMixture:
        """p(x_0 | x_t) for x_t = alpha x_0 + sigma eps.  x: [N, D], alpha, sigma: [N, 1]."""
        alpha, sigma = alpha.unsqueeze(-1), sigma.unsqueeze(-1)
        coordinates = (self.vectors.mT @ (x.unsqueeze(1) - alpha * self.means).unsqueeze(-1)).squeeze(-1)
        variance = alpha**2 * self.values + sigma**2
        evidence = -0.5 * (coordinates**2 / variance + variance.log()).sum(-1)
        shift = (self.vectors @ (alpha * self.values / variance * coordinates).unsqueeze(-1)).squeeze(-1)
        values = self.values * sigma**2 / variance
        return GaussianMixture(self.log_weights + evidence, self.means + shift, self.vectors, values)

    def given_linear(self, y: Tensor, matrix: Tensor, noise_std: float) -> GaussianMixture:
        """p(x | y) for y = A x + noise_std n.  y: [N, m], matrix A: [N or 1, m, D].

        K = S A^T (A S A^T + s^2 I)^-1, mean m + K (y - A m), covariance S - K A S, weight times the evidence
        N(y; A m, A S A^T + s^2 I).
        """
        a = matrix.unsqueeze(1)
        s = self.covariances()
        eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        innovation = a @ s @ a.mT + noise_std**2 * eye
        factor = torch.linalg.cholesky(innovation)
        gain = torch.cholesky_solve(a @ s, factor).mT
        error = y.unsqueeze(1) - (a @ self.means.unsqueeze(-1)).squeeze(-1)
        white = torch.linalg.solve_triangular(factor, error.unsqueeze(-1), upper=False).squeeze(-1)
        evidence = -0.5 * (white**2).sum(-1) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        means = self.means + (gain @ error.unsqueeze(-1)).squeeze(-1)
        covariances = s - gain @ a @ s
        return GaussianMixture.from_covariances(
            self.log_weights + evidence, means, 0.5 * (covariances + covariances.mT)
        )

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        rows, component = torch.arange(len(normal), device=normal.device), self.components(uniform)

        def pick(v: Tensor) -> Tensor:
            return v.expand(len(normal), *v.shape[1:])[rows, component]

        scaled = pick(self.values).sqrt() * normal
        return pick(self.means) + (pick(self.vectors) @ scaled.unsqueeze(-1)).squeeze(-1)


class GaussianMixturePrior(AnalyticPrior):
    """x_0 ~ sum_k pi_k N(m_k, S_k), with E[x_0 | x_t] and p(x_0 | y) in closed form.

    Args:
        means: [K, C, H, W].
        covariances: [K, D, D] with D = C H W, or a number s^2 for S_k = s^2 I.
        weights: [K]; None is equal weights.
        schedule: noise schedule; None is DDPM linear.
    """

    mixture: GaussianMixture

    def __init__(
        self,
        means: Tensor,
        covariances: Tensor | float,
        weights: Tensor | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__()
        k, dim = len(means), means[0].numel()
        if not isinstance(covariances, Tensor):
            covariances = float(covariances) * torch.eye(dim, dtype=means.dtype).expand(k, dim, dim)
        if tuple(covariances.shape) != (k, dim, dim):
            raise ValueError(
                f"covariances must be {(k, dim, dim)} for means {tuple(means.shape)}, got {tuple(covariances.shape)}"
            )
        weights = torch.full((k,), 1.0 / k, dtype=means.dtype) if weights is None else weights
        c, h, w = means.shape[1:]
        self.sample_shape = (c, h, w)
        self.schedule = schedule or Schedule.linear()
        self.mixture = GaussianMixture.from_covariances(weights.log()[None], means.flatten(1)[None], covariances[None])

    def working(self, tensor: Tensor) -> Tensor:
        return tensor  # in any precision, like the given covariances

    def law(self, like: Tensor) -> GaussianMixture:
        return self.mixture.to(like)

    def posterior(self, measurement: Measurement) -> GaussianMixture:
        """p(x | y) for a linear operator, one mixture per row, in the dtype of y."""
        y = measurement.y.flatten(1)
        return self.law(y).given_linear(y, dense(measurement, y), measurement.noise_std)
