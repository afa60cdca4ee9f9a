"""The distortion-perception plane given y, on a Gaussian prior: what is known of it, and where traversals lie.

Distortion is E||x - X||^2. Perception is the Gelbrich distance between the laws of X - E[x|y] and x - E[x|y]: for an X
that is Gaussian given y, with a covariance that does not depend on y, this is W2 to the posterior. No X lies below
D(P) = Tr C + (sqrt(Tr C) - P)^2: Gelbrich's distance obeys the triangle inequality, whatever the law of X.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rps.metrics.dp import distortion
from rps.metrics.frechet import Gaussian, Statistics, frechet_distance, root
from rps.metrics.intervals import Estimate, frechet_draws, means
from rps.oracle.measures import outputs
from rps.oracle.problem import Problem
from rps.restoration import Level
from rps.traversals.base import Traversal


class Point(NamedTuple):
    """A level of n outputs: E||x - X||^2, and the squared distance between the laws of X - E[x|y] and x - E[x|y]."""

    level: Level
    n: int
    mse: Estimate
    w2_squared: Estimate


@dataclass(frozen=True)
class Plane:
    """problem: of a Gaussian prior and one operator for all images, so that every y has the same posterior
    covariance."""

    problem: Problem

    @cached_property
    def cov(self) -> Tensor:
        """C.  -> [D, D]."""
        return self.problem.posterior.covariance()[0]

    def points(self, traversal: Traversal) -> list[Point]:
        """One output for each measurement."""
        p, found = self.problem, []
        centre = p.posterior.mean()
        law = Statistics(torch.zeros_like(centre[0]), self.cov, len(centre), "the exact posterior")
        for level, x in outputs(traversal, p.measurement, p.prior, 1).items():
            (mse,) = means((p.truth - x[:, 0]).square().sum(1, keepdim=True))
            found.append(Point(level, len(centre), mse, frechet_draws(x[:, 0] - centre, law).estimate()))
        return found

    def known(self, s: Tensor, n: float) -> tuple[float, float]:
        """(MSE, W2^2 as n outputs show it) of outputs N(mu, S): Tr C + Tr S, and W2^2(S, C) + W, W its bias.

        To the second order W = (Tr S + sum_ij (1 + [i = j]) q_i q_j / (q_i + q_j) / 2) / n, q^2 the eigenvalues of S C.
        """
        c, half = self.cov, root(self.cov)
        q = torch.linalg.eigvalsh(half @ s @ half).clamp(min=0).sqrt()
        pairs = torch.outer(q, q) / (q.unsqueeze(0) + q.unsqueeze(1)).clamp(min=1e-12) * (1 + torch.eye(len(q)))
        bias = float(s.trace() + pairs.sum() / 2) / n
        distance = frechet_distance(Gaussian(0 * c[0], s), Gaussian(0 * c[0], c))
        return float(c.trace() + s.trace()), distance + bias

    def away(self, point: Point, s: Tensor) -> tuple[float, float]:
        """(MSE, W2^2) minus what is known of outputs N(mu, S), in standard errors."""
        mse, w2_squared = self.known(s, point.n)
        se = max(point.w2_squared.se, 1e-6)  # the mean itself, S = 0, has a distance without any error
        return (point.mse.value - mse) / point.mse.se, (point.w2_squared.value - w2_squared) / se

    def bound(self, w2: Tensor) -> Tensor:
        """D(P) given y."""
        total = float(self.cov.trace())
        return distortion(w2, total, total**0.5)

    def below(self, point: Point) -> float:
        """By how many standard errors a point lies below the bound; negative above it. The bias of the distance is
        taken for that of an exact sampler, which is the largest where outputs spread less than the posterior."""
        farthest = float(self.cov.trace()) ** 0.5
        w2 = max(point.w2_squared.value - self.known(self.cov, point.n)[1], 0.0) ** 0.5
        slope = (farthest - w2) / max(w2, point.w2_squared.se**0.5)  # of D(P) in P^2
        se = (point.mse.se**2 + (slope * point.w2_squared.se) ** 2) ** 0.5
        return (float(self.bound(torch.tensor(w2))) - point.mse.value) / se
