"""The exact MMSE estimate, for priors whose posterior is known."""

from __future__ import annotations

from torch import Tensor

from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.analytic import AnalyticPrior
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior


class PosteriorMean(Estimator):
    """x = E[x_0 | y] in closed form: the least distortion that there is. No network call, no error.

    Needs a prior whose posterior is known (GaussianMixturePrior, LowRankMixturePrior, EmpiricalPrior) and a linear
    operator.
    """

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        exact = prior.prior if isinstance(prior, CountedPrior) else prior
        if not isinstance(exact, AnalyticPrior):
            raise ValueError(
                f"PosteriorMean needs a prior whose posterior is known, such as GaussianMixturePrior, got "
                f"{type(exact).__name__}"
            )
        return exact.posterior(measurement).mean().to(measurement.y).view(-1, *exact.sample_shape)
