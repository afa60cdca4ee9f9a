"""Images that are drawn from the prior itself, so that the posterior is the truth."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from datamodules.base import Sample, SampleDataModule
from rps.oracle.worlds import draw
from rps.priors.analytic.base import AnalyticPrior


class Analytic(SampleDataModule):
    """Draws from the AnalyticPrior of the module that is run, one for each id "000000", "000001", ...

    Args:
        limit: how many.
        batch_size: images of one batch.
        num_workers: processes that read ahead; 0 reads in the main one.
        skip: leave out so many images first.
        seed: an image is a function of (seed, id).
    """

    def __init__(
        self, limit: int = 256, batch_size: int = 256, num_workers: int = 0, skip: int = 0, seed: int = 0
    ) -> None:
        super().__init__(batch_size, num_workers, limit, skip)
        self.seed = seed

    def samples(self) -> PriorDraws:
        prior = getattr(getattr(self.trainer, "lightning_module", None), "prior", None)
        if not isinstance(prior, AnalyticPrior):
            raise ValueError(
                f"Analytic draws its images from the module's AnalyticPrior, got {type(prior).__name__}; "
                "choose such a prior (--model.prior rps.oracle.smooth_prior, say) or other data"
            )
        return PriorDraws(prior, self.total(), self.seed)

    def total(self) -> int:
        return self.skip + (self.limit or 0)


class PriorDraws:
    """count samples of a prior."""

    def __init__(self, prior: AnalyticPrior, count: int, seed: int) -> None:
        self.prior, self.count, self.seed = prior, count, seed

    def __iter__(self) -> Iterator[Sample]:
        for i in range(self.count):
            yield f"{i:06d}", partial(_image, self.prior, f"{i:06d}", self.seed)


def _image(prior: AnalyticPrior, id_: str, seed: int) -> Tensor:
    return draw(prior, [id_], seed)[0].float()
