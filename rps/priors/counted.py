"""Counting the network calls of a prior, whoever makes them."""

from __future__ import annotations

from torch import Tensor

from rps.priors.base import Denoised, Prior
from rps.progress import Progress, silent


class CountedPrior(Prior):
    """The same prior, which counts the images that pass through its network and tells a listener.

    calls: images denoised so far. phase: the name under which progress is reported.
    """

    def __init__(self, prior: Prior, progress: Progress = silent) -> None:
        super().__init__()
        self.prior = prior
        self.schedule = prior.schedule
        self.sample_shape = prior.sample_shape
        self.calls = 0
        self.phase = ""
        self._progress = progress

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.prior.image_shape

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        denoised = self.prior.denoise(x, t)
        self.calls += len(x)
        self._progress(self.phase, len(x))
        return denoised

    def encode(self, image: Tensor) -> Tensor:
        return self.prior.encode(image)

    def decode(self, sample: Tensor) -> Tensor:
        return self.prior.decode(sample)
