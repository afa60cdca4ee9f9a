"""Images drawn from the prior itself, so that the prior is exact."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from datamodules.base import Sample, SampleDataModule
from rps.oracle.worlds import draw
from rps.priors.analytic.base import AnalyticPrior


class Analytic(SampleDataModule):
    """Draws from the AnalyticPrior of the module that runs, with the ids "000000", "000001", ...

    Args:
        limit: number of images.
        batch_size: number of images in one batch.
        seed: seed of the draws; an image is a function of (seed, id).
        kwargs: other arguments of SampleDataModule.
    """

    def __init__(self, limit: int = 256, batch_size: int = 256, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(batch_size, limit=limit, **kwargs)
        self.seed = seed

    def samples(self) -> list[Sample]:
        prior = getattr(getattr(self.trainer, "lightning_module", None), "prior", None)
        if not isinstance(prior, AnalyticPrior):
            raise ValueError(
                f"the prior is {type(prior).__name__}, but Analytic draws its images from an AnalyticPrior; choose "
                "such a prior (e.g. --model.prior rps.oracle.smooth_prior) or other data"
            )
        ids = [f"{i:06d}" for i in range(self.total())]
        return [(id_, partial(_image, prior, id_, self.seed)) for id_ in ids]

    def total(self) -> int:
        if self.only_ids is not None:
            return max((int(id_) + 1 for id_ in self.only_ids), default=0)
        return self.skip + (self.limit or 0)


def _image(prior: AnalyticPrior, id_: str, seed: int) -> Tensor:
    return draw(prior, [id_], seed)[0].float()
