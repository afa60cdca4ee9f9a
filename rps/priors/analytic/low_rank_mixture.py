"""Gaussian mixtures with low-rank covariances, whose cost grows with the rank and not with pixels squared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rps.priors.analytic.mixture import Mixture, select_rows


@dataclass(frozen=True)
class LowRankMixture(Mixture):
    """p(x) = sum_k pi_k N(x; m_k, S_k), S_k = U_k diag(d_k) U_k^T + s_k^2 I; with N = 1, all rows share the mixture.

    log_weights: [N, K]. means: [N, K, D]. vectors U: [K, D, R], the same for all rows; columns are orthonormal, or zero
    where d is. values d >= 0: [N, K, R]. floor s^2: [N, K]. Only `covariances` allocates D x D matrices.
    """

    log_weights: Tensor
    means: Tensor
    vectors: Tensor
    values: Tensor
    floor: Tensor

    @property
    def noises(self) -> int:
        """D normals for s z and R for U sqrt(d) w."""
        return self.means.shape[2] + self.vectors.shape[2]

    def covariances(self) -> Tensor:
        """S_k.  -> [N, K, D, D]."""
        eye = torch.eye(self.means.shape[2]).to(self.means)
        return (self.vectors * self.values.unsqueeze(-2)) @ self.vectors.mT + self.floor[..., None, None] * eye

    def covariance(self) -> Tensor:
        return (self.weights[..., None, None] * self.covariances()).sum(1) + self.between()

    def trace(self) -> Tensor:
        within = self.values.sum(-1) + self.means.shape[2] * self.floor
        return (self.weights * within).sum(1) + self.spread()

    def to(self, like: Tensor) -> LowRankMixture:
        fields = (self.log_weights, self.means, self.vectors, self.values, self.floor)
        return LowRankMixture(*(v.to(like) for v in fields))

    def rows(self, index: Tensor | slice) -> LowRankMixture:
        own = [select_rows(v, index) for v in (self.log_weights, self.means, self.values, self.floor)]
        return LowRankMixture(own[0], own[1], self.vectors, own[2], own[3])

    def given_noisy(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> LowRankMixture:
        """p(x_0 | x_t), with the same U: a variance v becomes v sigma^2 / (alpha^2 v + sigma^2) in each direction."""
        a, s2 = alpha.unsqueeze(-1), sigma.unsqueeze(-1) ** 2
        floor = self.floor.unsqueeze(-1)
        along, rest = self._split(x.unsqueeze(1) - a * self.means)
        total, outside = a**2 * (self.values + floor) + s2, a**2 * floor + s2
        evidence = self._log_normal(along, rest, total, outside)
        shift = self._images(a * (self.values + floor) / total * along) + a * floor / outside * rest
        values = self.values * s2**2 / (total * outside)
        return LowRankMixture(
            self.log_weights + evidence, self.means + shift, self.vectors, values, (floor * s2 / outside).squeeze(-1)
        )

    def log_density(self, x: Tensor) -> Tensor:
        """log sum_k pi_k N(x; m_k, S_k), for s_k > 0."""
        if x.ndim == 3:
            return torch.stack([self.log_density(x[:, m]) for m in range(x.shape[1])], dim=1)
        floor = self.floor.unsqueeze(-1)
        along, rest = self._split(x.unsqueeze(1) - self.means)
        each = self._log_normal(along, rest, self.values + floor, floor) - 0.5 * x.shape[1] * math.log(2 * math.pi)
        return torch.logsumexp(torch.log_softmax(self.log_weights, 1) + each, dim=1)

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        n, dim = len(normal), self.means.shape[2]
        rows, component = torch.arange(n, device=normal.device), self.components(uniform).expand(n)

        def pick(v: Tensor) -> Tensor:
            return v.expand(n, *v.shape[1:])[rows, component]

        white, factors = normal[:, :dim], pick(self.values).sqrt() * normal[:, dim:]
        x = pick(self.means) + pick(self.floor).sqrt().unsqueeze(1) * white
        for k in component.unique().tolist():
            chosen = component == k
            x[chosen] += factors[chosen] @ self.vectors[k].mT
        return x

    def _split(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """U_k^T delta and the part of delta orthogonal to U_k.  [N, K, D] -> [N, K, R], [N, K, D]."""
        along = (delta.transpose(0, 1) @ self.vectors).transpose(0, 1)
        return along, delta - self._images(along)

    def _images(self, along: Tensor) -> Tensor:
        """U_k c.  [N, K, R] -> [N, K, D]."""
        return (along.transpose(0, 1) @ self.vectors.mT).transpose(0, 1)

    def _log_normal(self, along: Tensor, rest: Tensor, total: Tensor, outside: Tensor) -> Tensor:
        """log N without 2 pi, with variances `total` [N, K, R] along U, `outside` [N, K, 1] elsewhere.  -> [N, K]."""
        others = rest.shape[-1] - along.shape[-1]
        if others == 0:  # U spans the space, and `outside` may be zero
            return -0.5 * (along**2 / total + total.log()).sum(-1)
        elsewhere = (rest**2).sum(-1) / outside.squeeze(-1) + others * outside.squeeze(-1).log()
        return -0.5 * ((along**2 / total + total.log()).sum(-1) + elsewhere)
