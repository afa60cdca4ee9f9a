"""Measurements of which the posterior is known, and how far from it a method is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rps.measurement import Measurement, degrade
from rps.metrics.frechet import Gaussian, frechet_distance
from rps.operators.base import Operator
from rps.oracle.gaussian import propagate_affine
from rps.oracle.measures import Figure, exact_samples, figures, measures, outputs
from rps.oracle.worlds import draw
from rps.priors.analytic.base import AnalyticPrior
from rps.priors.analytic.mixture import Mixture
from rps.restoration import Level
from rps.samplers.base import Sampler
from rps.traversals.base import Traversal

TINY = 1e-4
"""Without noise the posterior is the limit of a vanishing one: of this noise_std."""


@dataclass(frozen=True)
class Problem:
    """Measurements of images truth [N, D] of a prior, with their exact posteriors, and two sets of exact samples of
    these, [N, M, D]."""

    prior: AnalyticPrior
    truth: Tensor
    measurement: Measurement
    posterior: Mixture
    exact: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, prior: AnalyticPrior, operator: Operator, noise_std: float, n: int, m: int, seed: int = 0) -> Problem:
        """n images, ids "0" .. "n-1": a smaller n has the same ones. m: exact samples of each."""
        ids = [str(i) for i in range(n)]
        images = draw(prior, ids, seed)
        measurement = degrade(images, operator, noise_std, ids, seed)
        posterior = prior.posterior(replace(measurement, noise_std=max(noise_std, TINY)))
        first, second = (exact_samples(posterior, measurement.streams.at("oracle", k), m) for k in range(2))
        return cls(prior, images.flatten(1), measurement, posterior, (first, second))

    def judge(self, traversal: Traversal) -> dict[Level, dict[str, Figure]]:
        """Level -> figures, see `measures`, of as many outputs for each measurement as there are exact samples."""
        made = outputs(traversal, self.measurement, self.prior, self.exact[0].shape[1])
        return {level: figures(measures(x, self.truth, self.posterior, self.exact)) for level, x in made.items()}

    def law_gaps(self, sampler: Sampler, steps: int) -> dict[str, float]:
        """How far the exact output law of a sampler is from the posterior, without any error of sampling, where the
        prior is Gaussian and the step affine: root mean square over the images.

        mean, covariance: as in the figures. w2: Wasserstein-2 to the posterior, over sqrt(Tr C*). Raises ValueError
        where a step is not affine.
        """
        schedule, (images, d) = self.prior.schedule, self.truth.shape
        timesteps = sampler.timesteps(schedule, len(schedule), steps)
        eye = torch.eye(d, dtype=torch.float64)
        start = Gaussian(0 * eye[0], schedule.sigma(timesteps[0]) ** 2 * eye)
        squares = []
        for i in range(images):
            exact = Gaussian(self.posterior.mean()[i], self.posterior.covariance().expand(images, -1, -1)[i])
            law = propagate_affine(sampler, self.measurement.rows(slice(i, i + 1)), self.prior, timesteps, start)
            trace, difference = exact.cov.trace(), law.cov - exact.cov
            mean = (law.mean - exact.mean).square().sum() / trace
            covariance = difference.square().sum() / exact.cov.square().sum()
            squares.append([mean, covariance, frechet_distance(law, exact) / trace])
        return dict(zip(("mean", "covariance", "w2"), torch.tensor(squares).mean(0).sqrt().tolist(), strict=True))
