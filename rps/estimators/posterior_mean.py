"""The exact MMSE estimate, for analytic priors."""

from __future__ import annotations

from torch import Tensor

from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.base import Prior


class PosteriorMean(Estimator):
    """x = E[x_0 | y] in closed form, which has the least mean squared error possible. No network calls.

    Needs an analytic prior (GaussianMixturePrior, LowRankMixturePrior, EmpiricalPrior) and a linear operator.
    """

    def is_posterior_mean(self, measurement: Measurement, prior: Prior) -> bool:
        return True

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        return prior.posterior(measurement).mean().to(measurement.y).view(-1, *prior.sample_shape)
