"""The pseudo-inverse A^+ y, which uses no prior: the start of other estimators and the baseline they must beat."""

from __future__ import annotations

from torch import Tensor

from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.settings import not_negative


class PseudoInverse(Estimator):
    """x = E(A^+ y), with E the identity for pixel models.

    Args:
        rcond: smallest singular value, relative to the largest, that A^+ keeps, as in numpy.linalg.pinv; this bounds
            the amplification of noise.
    """

    def __init__(self, rcond: float = 0.1) -> None:
        not_negative(rcond=rcond)
        self.rcond = rcond

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        return prior.encode(measurement.operator.pinv(measurement.y, self.rcond))
