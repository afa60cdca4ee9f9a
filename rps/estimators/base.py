"""Estimator, the base class: y -> one image of low distortion, the first stage of a traversal."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior


class Estimator:
    """A point estimate of x from y = A(x) + noise. Hyper-parameters are constructor arguments."""

    @property
    def network_calls(self) -> int:
        """Network calls per image."""
        return 0

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        """One sample (an image for pixel models) per measurement.  -> [N, *sample_shape]."""
        raise NotImplementedError(f"{type(self).__name__} must define estimate(measurement, prior)")
