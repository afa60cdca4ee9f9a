"""CountedPrior counts the network calls of a prior."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.analytic.mixture import Mixture
from rps.priors.base import Denoised, Prior
from rps.progress import Progress, silent


class Meter:
    """Counts the images that have passed through a network and reports them.

    phase: name under which progress is reported.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self.calls, self.phase, self.progress = 0, "", progress

    def count(self, images: int) -> None:
        self.calls += images
        self.progress(self.phase, images)


class CountedPrior(Prior):
    """A prior that counts on a meter the images that pass through its network, once per evaluation of the network
    (`Prior.evaluations`). Priors returned by `given` share the meter.
    """

    def __init__(self, prior: Prior, progress: Progress = silent, meter: Meter | None = None) -> None:
        super().__init__()
        self.prior, self.meter = prior, meter or Meter(progress)
        self.schedule, self.sample_shape, self.map_timestep = prior.schedule, prior.sample_shape, prior.map_timestep
        self.latent, self.needs, self.evaluations = prior.latent, prior.needs, prior.evaluations

    @property
    def calls(self) -> int:
        return self.meter.calls

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prior.image_shape

    def given(self, measurement: Measurement) -> CountedPrior:
        return CountedPrior(self.prior.given(measurement), meter=self.meter)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        denoised = self.prior.denoise(x, t)
        self.meter.count(len(x) * self.evaluations)
        return denoised

    def encode(self, image: Tensor) -> Tensor:
        return self.prior.encode(image)

    def decode(self, sample: Tensor) -> Tensor:
        return self.prior.decode(sample)

    def posterior(self, measurement: Measurement) -> Mixture:
        return self.prior.posterior(measurement)

    def posterior_at(self, x: Tensor, t: Tensor, measurement: Measurement) -> Mixture:
        return self.prior.posterior_at(x, t, measurement)
