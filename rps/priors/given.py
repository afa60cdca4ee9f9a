"""A prior and the rows that it is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior

if TYPE_CHECKING:
    from rps.priors.diffusers_prior import DiffusersPrior


class GivenPrior(Prior):
    """A prior that knows the rows that it is asked about: their conditions and their random numbers."""

    def __init__(self, prior: DiffusersPrior, measurement: Measurement) -> None:
        super().__init__()
        self.prior, self.schedule, self.sample_shape = prior, prior.schedule, prior.sample_shape
        self.latent, self.map_timestep = prior.latent, prior.map_timestep
        self.evaluations = prior.evaluations
        self.streams, self.conditions = measurement.streams, prior.condition(measurement)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prior.image_shape

    def given(self, measurement: Measurement) -> Prior:
        return self.prior.given(measurement)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        if len(x) != len(self.streams):
            raise ValueError(f"{len(x)} rows for a prior that was given {len(self.streams)}; use prior.given(rows)")
        return self.prior.denoise(x, t, self.conditions)

    def encode(self, image: Tensor) -> Tensor:
        return self.prior.encode(image, self.streams)

    def decode(self, sample: Tensor) -> Tensor:
        return self.prior.decode(sample)
