"""Counting the network calls of a prior, whoever makes them."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.progress import Progress, silent


class CountedPrior(Prior):
    """The same prior, which counts the images that pass through its network and reports them to a listener.

    calls: images so far, each as often as the network was evaluated on it (`Prior.evaluations`), also by priors that
    `given` returned. phase: the name under which progress is reported.
    """

    def __init__(self, prior: Prior, progress: Progress = silent, source: CountedPrior | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.schedule = prior.schedule
        self.sample_shape = prior.sample_shape
        self.latent, self.needs, self.map_timestep = prior.latent, prior.needs, prior.map_timestep
        self.evaluations = prior.evaluations
        self.phase = ""
        self._calls = 0
        self._progress = progress
        self._source = () if source is None else (source,)  # in a tuple, so that it is no part of this module

    @property
    def calls(self) -> int:
        return self._source[0].calls if self._source else self._calls

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prior.image_shape

    def count(self, images: int) -> None:
        if self._source:
            return self._source[0].count(images)
        self._calls += images
        return self._progress(self.phase, images)

    def given(self, measurement: Measurement) -> CountedPrior:
        bound = self.prior.given(measurement)
        return self if bound is self.prior else CountedPrior(bound, source=self)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        denoised = self.prior.denoise(x, t)
        self.count(len(x) * self.evaluations)
        return denoised

    def encode(self, image: Tensor) -> Tensor:
        return self.prior.encode(image)

    def decode(self, sample: Tensor) -> Tensor:
        return self.prior.decode(sample)
