"""The exact MMSE estimate, for priors whose posterior is known."""

from __future__ import annotations

from torch import Tensor

from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.base import Prior


class PosteriorMean(Estimator):
    """x = E[x_0 | y] in closed form: the least distortion that there is. No network call, no error.

    Needs a prior whose posterior is known (GaussianMixturePrior, LowRankMixturePrior, EmpiricalPrior) and a linear
    operator.
    """

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        return prior.posterior(measurement).mean().to(measurement.y).view(-1, *prior.sample_shape)
