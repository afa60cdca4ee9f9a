"""LowRankMixturePrior: a Gaussian mixture fitted to images, with denoiser and posterior in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.analytic.base import AnalyticPrior, dense
from rps.priors.analytic.fit import fit_mixture
from rps.priors.analytic.images import read_images
from rps.priors.analytic.low_rank_mixture import LowRankMixture
from rps.priors.analytic.low_rank_posterior import LowRankPosterior
from rps.schedule import Schedule

FIELDS = ("log_weights", "means", "vectors", "values", "floor")


class LowRankMixturePrior(AnalyticPrior):
    """x_0 ~ sum_k pi_k N(m_k, U_k diag(d_k) U_k^T + s_k^2 I): E[x_0 | x_t] and p(x_0 | y) in closed form.

    A call with N images costs N K D R operations. A posterior stores A as a matrix, [m, D], once per row if the
    operator differs between rows. Both are computed in double precision.

    Args:
        mixture: mixture of one row (N = 1).
        sample_shape: [C, H, W], with D = C H W.
        schedule: noise schedule; None is DDPM linear.
    """

    def __init__(
        self, mixture: LowRankMixture, sample_shape: tuple[int, int, int], schedule: Schedule | None = None
    ) -> None:
        super().__init__()
        c, h, w = sample_shape
        k, dim, rank = mixture.vectors.shape
        shapes = {"log_weights": (1, k), "means": (1, k, dim), "values": (1, k, rank), "floor": (1, k)}
        wrong = {name: tuple(getattr(mixture, name).shape) for name in shapes}
        if wrong != shapes or dim != c * h * w:
            raise ValueError(
                f"vectors {(k, dim, rank)} and sample_shape {(c, h, w)} need {shapes} and as many pixels, got {wrong}"
            )
        self.sample_shape = (c, h, w)
        self.schedule = schedule or Schedule.linear()
        for name in FIELDS:
            self.register_buffer(name, getattr(mixture, name), persistent=False)

    @classmethod
    def fitted(
        cls,
        images: str = "embedded",
        components: int = 10,
        rank: int = 20,
        skip: int = 700,
        limit: int | None = 300,
        min_std: float = 0.05,
        seed: int = 0,
    ) -> LowRankMixturePrior:
        """The prior fitted to images by `fit_mixture`, on each call; the same arguments give the same prior.

        Args:
            images: "embedded" for the Fashion-MNIST test images of the package, or a .safetensors file with a tensor
                `images` [n, C, H, W]. Choose images other than those to restore.
            components: number K of components.
            rank: rank R of each component.
            skip: number of images to skip at the start.
            limit: number of images to use after that; null is all.
            min_std: smallest s_k, in [-1, 1] image units.
            seed: seed of the clustering.
        """
        bank = read_images(images, skip, limit)
        _, c, h, w = bank.shape
        return cls(fit_mixture(bank, components, rank, min_std, seed), (c, h, w))

    @classmethod
    def from_file(cls, path: str) -> LowRankMixturePrior:
        """The prior in a file written by `save`.

        Args:
            path: .safetensors file.
        """
        from safetensors.torch import load_file

        tensors = load_file(path)
        missing = sorted({*FIELDS, "sample_shape", "alpha", "sigma"} - set(tensors))
        if missing:
            raise ValueError(
                f"{path} is not a mixture: it lacks {', '.join(missing)}; write it with LowRankMixturePrior.save"
            )
        c, h, w = tensors["sample_shape"].tolist()
        mixture = LowRankMixture(*(tensors[name] for name in FIELDS))
        return cls(mixture, (c, h, w), Schedule(tensors["alpha"], tensors["sigma"]))

    def save(self, path: str) -> None:
        """Writes mixture, shape and schedule to one .safetensors file."""
        from safetensors.torch import save_file

        tensors: dict[str, Any] = {name: getattr(self, name).contiguous().cpu() for name in FIELDS}
        tensors["sample_shape"] = torch.tensor(self.sample_shape)
        # Without the last entry, the clean image, which Schedule adds.
        tensors["alpha"] = self.schedule.alpha_table[:-1].contiguous().cpu()
        tensors["sigma"] = self.schedule.sigma_table[:-1].contiguous().cpu()
        save_file(tensors, path)

    @property
    def mixture(self) -> LowRankMixture:
        """p(x_0); one row."""
        return LowRankMixture(*(getattr(self, name) for name in FIELDS))

    def law(self, like: Tensor) -> LowRankMixture:
        return self.mixture.to(like)

    def posterior(self, measurement: Measurement) -> LowRankPosterior:
        """p(x_0 | y) for a linear operator, one mixture per row, in double precision."""
        y = self.working(measurement.y.flatten(1))
        return self._given(self.law(y), measurement, y)

    def posterior_at(self, x: Tensor, t: Tensor, measurement: Measurement) -> LowRankPosterior:
        """p(x_0 | x_t, y), conditioned on x_t first, which keeps the rank of the mixture."""
        flat, y = self.working(x.flatten(1)), self.working(measurement.y.flatten(1))
        return self._given(self.law(flat).given_noisy(flat, *self.schedule.at(t, flat)), measurement, y)

    def _given(self, law: LowRankMixture, measurement: Measurement, y: Tensor) -> LowRankPosterior:
        return LowRankPosterior.of(law, y, dense(measurement, y), measurement.noise_std)
