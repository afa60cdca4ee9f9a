"""The posterior of a low-rank mixture given a linear measurement, in the coordinates of the measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rps.priors.analytic.low_rank_mixture import LowRankMixture
from rps.priors.analytic.mixture import Mixture, matvec, select_rows
from rps.priors.analytic.spectrum import Spectrum


class _Component(NamedTuple):
    """N(mean, s^2 (I - V phi V^T) + T root root^T T^T), T = U - V phi V^T U."""

    evidence: Tensor
    """log N(W^T y; A m, A S A^T + s^2 I), without the factors of 2 pi.  [N]."""
    mean: Tensor
    """[N, D]."""
    phi: Tensor
    """Fraction of the variance s^2 that the measurement removes.  [N, p]."""
    seen: Tensor
    """V^T U.  [N or 1, p, R]."""
    root: Tensor
    """[N, R, R]."""


class _Covariance(NamedTuple):
    """s^2 I - V psi V^T + F F^T, without any D x D matrix."""

    spectrum: Spectrum
    level: Tensor
    """s^2 [N]."""
    seen: Tensor
    """psi [N, p]."""
    factors: Tensor
    """F [N, D, q]."""

    def times(self, v: Tensor) -> Tensor:
        """The covariance times v.  [N, D, B] -> [N, D, B]."""
        inside = self.spectrum.back(self.seen.unsqueeze(2) * self.spectrum.forward(v))
        return self.level.view(-1, 1, 1) * v - inside + self.factors @ (self.factors.mT @ v)

    def trace(self) -> Tensor:
        return self.level * self.factors.shape[1] - self.seen.sum(1) + self.factors.square().sum((1, 2))

    def square(self) -> Tensor:
        """The squared Frobenius norm.  -> [N]."""
        s2, f = self.level, self.factors
        flat = s2**2 * f.shape[1] - 2 * s2 * self.seen.sum(1) + self.seen.square().sum(1)
        across = s2 * f.square().sum((1, 2)) - (self.seen.unsqueeze(2) * self.spectrum.forward(f).square()).sum((1, 2))
        return flat + 2 * across + (f.mT @ f).square().sum((1, 2))


@dataclass(frozen=True)
class LowRankPosterior(Mixture):
    """p(x | y) of a LowRankMixture, for y = A x + noise_std n.

    In x = m + U b + s e, first the coefficients b and then e are conditioned on y. With
    psi = 1 / (s^2 a^2 + noise_std^2) and B = diag(a) V^T U, the precision of b is 1/d + B^T psi B, [R, R], and
    phi = s^2 a^2 psi. The part of y outside the range of A carries no information and is dropped.

    log_weights: [N, K], means: [N, K, D]: computed by `of`. prior, spectrum: for the same rows. y: W^T y [N, p].
    """

    log_weights: Tensor
    means: Tensor
    prior: LowRankMixture
    spectrum: Spectrum
    y: Tensor
    noise_std: float

    @classmethod
    def of(cls, prior: LowRankMixture, y: Tensor, matrix: Tensor, noise_std: float) -> LowRankPosterior:
        """The posterior given y: [N, m] and the matrix A: [N or 1, m, D].  Needs noise_std > 0 or s_k > 0."""
        if noise_std == 0 and not bool((prior.floor > 0).all()):
            raise ValueError(
                "noise_std and the floor s^2 are both 0, but the posterior of a low-rank mixture needs noise; raise one"
            )
        spectrum = Spectrum.of(matrix)
        blank = cls(prior.log_weights, prior.means, prior, spectrum, spectrum.measured(y), noise_std)
        parts = [blank._component(k) for k in range(prior.means.shape[1])]
        log_weights = prior.log_weights + torch.stack([part.evidence for part in parts], dim=1)
        return replace(blank, log_weights=log_weights, means=torch.stack([part.mean for part in parts], dim=1))

    @property
    def noises(self) -> int:
        return self.prior.noises

    def rows(self, index: Tensor | slice) -> LowRankPosterior:
        own = [select_rows(v, index) for v in (self.log_weights, self.means, self.y)]
        return LowRankPosterior(
            own[0], own[1], self.prior.rows(index), self.spectrum.rows(index), own[2], self.noise_std
        )

    def covariance(self) -> Tensor:
        return self._covariance.times(torch.eye(self.means.shape[2]).to(self.means).expand(len(self.y), -1, -1))

    def covariance_times(self, v: Tensor) -> Tensor:
        return self._covariance.times(v)

    def covariance_square(self) -> Tensor:
        return self._covariance.square()

    def trace(self) -> Tensor:
        return self._covariance.trace()

    @cached_property
    def _covariance(self) -> _Covariance:
        weights, offset = self.weights, self.means - self.mean().unsqueeze(1)
        level, seen = torch.zeros_like(weights[:, 0]), torch.zeros_like(self.y)
        factors = [(weights.sqrt().unsqueeze(2) * offset).mT]
        for k in range(self.means.shape[1]):
            share, own = weights[:, k], self._within(k)
            level, seen = level + share * own.level, seen + share.unsqueeze(1) * own.seen
            factors.append(share.sqrt().view(-1, 1, 1) * own.factors)
        return _Covariance(self.spectrum, level, seen, torch.cat(factors, dim=2))

    def _within(self, k: int) -> _Covariance:
        """The covariance of component k."""
        part, floor = self._component(k), self.prior.floor[:, k].expand(len(self.y))
        return _Covariance(self.spectrum, floor, floor.unsqueeze(1) * part.phi, self._through(k, part, part.root))

    def fourth(self) -> Tensor:
        """E|x - E[x]|^4, as in GaussianMixture.  -> [N]."""
        result, weights, middle = torch.zeros_like(self.y[:, 0]), self.weights, self.mean()
        for k in range(self.means.shape[1]):
            own, offset = self._within(k), self.means[:, k] - middle
            across = (offset.unsqueeze(1) @ own.times(offset.unsqueeze(2))).flatten()
            size = offset.square().sum(1) + own.trace()
            result = result + weights[:, k] * (size**2 + 2 * own.square() + 4 * across)
        return result

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) + log N(y; A x, noise_std^2 I) - log p(y), for noise_std > 0."""
        if self.noise_std == 0:
            raise ValueError("with noise_std = 0 the posterior lies in a subspace and has no density; raise noise_std")
        if x.ndim == 3:
            return torch.stack([self.log_density(x[:, m]) for m in range(x.shape[1])], dim=1)
        present = self.spectrum.values > 0
        misfit = torch.where(
            present, self.y - self.spectrum.values * self.spectrum.forward(x.unsqueeze(2)).squeeze(2), 0.0
        )
        likelihood = -0.5 * (misfit / self.noise_std).square().sum(1) - present.sum(1) * math.log(self.noise_std)
        marginal = torch.logsumexp(self.log_weights, 1) - torch.logsumexp(self.prior.log_weights, 1)
        return self.prior.log_density(x) + likelihood - marginal

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        n, dim = len(normal), self.means.shape[2]
        component = self.components(uniform).expand(n)
        x = torch.empty_like(normal[:, :dim])
        for k in component.unique().tolist():
            chosen = (component == k).nonzero().squeeze(1)
            rows = self.rows(chosen)
            part, white = rows._component(k), normal[chosen, :dim].unsqueeze(2)
            kept = (1 - part.phi).clamp(min=0).sqrt().unsqueeze(2)
            white = white - rows.spectrum.back((1 - kept) * rows.spectrum.forward(white))
            b = rows._through(k, part, matvec(part.root, normal[chosen, dim:]).unsqueeze(2))
            x[chosen] = part.mean + (rows.prior.floor[:, k, None, None].sqrt() * white + b).squeeze(2)
        return x

    def _through(self, k: int, part: _Component, b: Tensor) -> Tensor:
        """T b, T = U - V phi V^T U.  b: [N, R, B] -> [N, D, B]."""
        return self.prior.vectors[k] @ b - self.spectrum.back(part.phi.unsqueeze(2) * (part.seen @ b))

    def _component(self, k: int) -> _Component:
        a, prior = self.spectrum.values, self.prior
        present, floor, scale = a > 0, prior.floor[:, k, None], prior.values[:, k].sqrt()
        variance = torch.where(present, floor * a**2 + self.noise_std**2, 1.0)
        psi = torch.where(present, 1.0 / variance, 0.0)
        seen = self.spectrum.forward(prior.vectors[k : k + 1])
        b = a.unsqueeze(-1) * seen
        residual = torch.where(
            present, self.y - a * self.spectrum.forward(prior.means[:, k].unsqueeze(2)).squeeze(2), 0.0
        )
        inner = scale.unsqueeze(-1) * (b.mT @ (psi.unsqueeze(-1) * b)) * scale.unsqueeze(-2)
        factor = torch.linalg.cholesky(inner + torch.eye(inner.shape[-1]).to(inner))
        pulled = scale * matvec(b.mT, psi * residual)
        white = torch.cholesky_solve(pulled.unsqueeze(-1), factor).squeeze(-1)
        misfit = residual - matvec(b, scale * white)
        # The quadratic form of A S A^T + noise_std^2 I, as a sum of squares.
        square = (psi * misfit**2).sum(1) + (white**2).sum(1)
        log_determinant = variance.log().sum(1) + 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
        mean = prior.means[:, k] + (scale * white) @ prior.vectors[k].mT
        mean = mean + floor * self.spectrum.back((a * psi * misfit).unsqueeze(2)).squeeze(2)
        eye = torch.eye(inner.shape[-1]).to(inner).expand_as(inner)
        root = scale.unsqueeze(-1) * torch.linalg.solve_triangular(factor.mT, eye, upper=True)
        return _Component(-0.5 * (square + log_determinant), mean, floor * a**2 * psi, seen, root)
