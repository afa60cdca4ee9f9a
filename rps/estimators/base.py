"""Estimator, the base class: y -> one image of low distortion, the first stage of a traversal."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.schedule import Schedule
from rps.shown import Shown


class Estimator(Shown):
    """A point estimate of x from y = A(x) + noise. Hyper-parameters are constructor arguments."""

    def network_calls(self, schedule: Schedule) -> int:
        """Network calls per image."""
        return 0

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        """One sample (an image for pixel models) per measurement.  -> [N, *sample_shape]."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate(measurement, prior)")

    def estimate_and_spread(self, measurement: Measurement, prior: Prior) -> tuple[Tensor, Tensor | None]:
        """The estimate, and for estimators that average chains their standard deviation; both [N, *sample_shape]."""
        return self.estimate(measurement, prior), None

    def is_posterior_mean(self, measurement: Measurement, prior: Prior) -> bool:
        """Whether the estimate is E[x_0 | y] as the prior defines it, so that averaging chains cannot improve it."""
        return False
