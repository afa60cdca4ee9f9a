"""AnalyticPrior: denoiser and posterior in closed form, so that solvers can be evaluated without a network."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.operators.base import LinearOperator
from rps.priors.analytic.mixture import Mixture
from rps.priors.base import Denoised, Prior


class AnalyticPrior(Prior):
    """x_0 ~ a mixture. Subclasses define `law` and `posterior`, whose mixtures are over flat images, [N, D].

    posterior(measurement).mean().view(-1, *prior.sample_shape) is the MMSE estimate, .trace() its expected squared
    error per image; rps.oracle.exact_samples(posterior, streams, n) draws from it.
    """

    largest_value = math.inf

    @cached_property
    def data_std(self) -> float:  # type: ignore[override]
        law = self.law(torch.zeros(1, math.prod(self.sample_shape), dtype=torch.float64))
        return math.sqrt(float(law.trace()[0]) / math.prod(self.sample_shape))

    def law(self, like: Tensor) -> Mixture:
        """p(x_0) on the device and in the dtype of `like`; one row, shared by all images."""
        raise NotImplementedError(f"{type(self).__name__} must define law(like)")

    def posterior(self, measurement: Measurement) -> Mixture:
        """p(x_0 | y) for a linear operator and Gaussian noise of noise_std, one mixture per row."""
        raise NotImplementedError(f"{type(self).__name__} must define posterior(measurement)")

    def working(self, tensor: Tensor) -> Tensor:
        """The tensor in double precision if the device has it, because the logarithms of the weights are differences of
        large numbers."""
        return tensor if tensor.device.type == "mps" else tensor.double()

    def posterior_at(self, x: Tensor, t: Tensor, measurement: Measurement) -> Mixture:
        """p(x_0 | x_t, y).  x: [N, *sample_shape], t: [N]."""
        flat = self.working(x.flatten(1))
        return self.posterior(measurement).given_noisy(flat, *self.schedule.at(t, flat))

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        flat = self.working(x.flatten(1))
        posterior = self.law(flat).given_noisy(flat, *self.schedule.at(t, flat))
        return self.from_x0(x, posterior.mean().to(x).view_as(x), t)


def dense(measurement: Measurement, like: Tensor) -> Tensor:
    """The matrix A of every row, or one if all rows share it, in like's dtype.  -> [N or 1, m, D]."""
    operator = linear(measurement)
    rows = range(len(measurement)) if operator.per_sample else range(1)
    matrices = [operator.rows(slice(i, i + 1)).matrix(like.dtype) for i in rows]
    if not matrices:
        return like.new_zeros(0, like.shape[1], torch.Size(measurement.image_shape).numel())
    return torch.stack(matrices).to(like)


def linear(measurement: Measurement) -> LinearOperator:
    """The operator of the measurement.  Errors: ValueError if it is not linear."""
    operator = measurement.operator
    if not isinstance(operator, LinearOperator):
        raise ValueError(f"the exact posterior needs a LinearOperator, got {type(operator).__name__}")
    return operator
