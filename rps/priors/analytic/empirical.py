"""EmpiricalPrior: a finite set of images as the prior."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.analytic.base import AnalyticPrior, linear
from rps.priors.analytic.images import read_images
from rps.priors.analytic.mixture import Mixture, select_rows
from rps.schedule import Schedule


@dataclass(frozen=True)
class WeightedImages(Mixture):
    """p(x) = sum_k pi_k delta(x - x_k).  log_weights: [N, K]. means x_k: [1, K, D], the same for all rows."""

    log_weights: Tensor
    means: Tensor

    @property
    def noises(self) -> int:
        return 0

    def rows(self, index: Tensor | slice) -> WeightedImages:
        return WeightedImages(select_rows(self.log_weights, index), self.means)

    def covariance(self) -> Tensor:
        return self.between()

    def trace(self) -> Tensor:
        return self.spread()

    def covariance_times(self, v: Tensor) -> Tensor:
        """Cov[x] v, row by row, without forming the covariance: K images are smaller than pixels squared."""
        return torch.stack([o.mT @ (w.unsqueeze(1) * (o @ one)) for (w, o), one in zip(self.offsets(), v, strict=True)])

    def covariance_square(self) -> Tensor:
        return torch.stack([w @ (o @ o.mT).square() @ w for w, o in self.offsets()])

    def fourth(self) -> Tensor:
        return torch.stack([w @ offset.square().sum(-1) ** 2 for w, offset in self.offsets()])

    def given_noisy(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> WeightedImages:
        """p(x_0 | x_t): weights times exp(-|x_t - alpha x_k|^2 / 2 sigma_t^2), without |x_t|^2, which all k share."""
        images = self.means[0]
        inner = alpha * (x @ images.mT) - 0.5 * alpha**2 * images.square().sum(1)
        return WeightedImages(self.log_weights + inner / sigma**2, self.means)

    def log_density(self, x: Tensor) -> Tensor:
        """The log probability of the image x: -inf unless it equals one of the x_k, to 1e-5 per pixel."""
        many = x if x.ndim == 3 else x.unsqueeze(1)
        log_weights = torch.log_softmax(self.log_weights, 1)
        rows = []
        for row in range(len(many)):
            gap = (many[row].unsqueeze(1) - self.means[0]).abs().amax(-1)
            own = select_rows(log_weights, slice(row, row + 1)).expand_as(gap)
            rows.append(torch.where(gap < 1e-5, own, -torch.inf).logsumexp(1))
        return torch.stack(rows).view(x.shape[:-1])

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        return self.means[0, self.components(uniform).expand(len(normal))]


class EmpiricalPrior(AnalyticPrior):
    """x_0 is one of K images: E[x_0 | x_t] is their average with weights softmax(-|x_t - alpha x_k|^2 / 2 sigma_t^2).

    The posterior has weights softmax(-|y - A x_k|^2 / 2 noise_std^2). Both are computed in double precision.

    Args:
        images: [K, C, H, W], equally likely.
        schedule: noise schedule; None is DDPM linear.
    """

    images: Tensor

    def __init__(self, images: Tensor, schedule: Schedule | None = None) -> None:
        super().__init__()
        if images.ndim != 4 or not len(images):
            raise ValueError(f"images must be [K, C, H, W] with K >= 1, got shape {tuple(images.shape)}")
        _, c, h, w = images.shape
        self.sample_shape = (c, h, w)
        self.schedule = schedule or Schedule.linear()
        self.register_buffer("images", images, persistent=False)

    @classmethod
    def of(cls, images: str = "embedded", skip: int = 700, limit: int | None = 300) -> EmpiricalPrior:
        """The prior over stored images.

        Args:
            images: "embedded" for the Fashion-MNIST test images of the package, or a .safetensors file with a tensor
                `images` [n, C, H, W].
            skip: number of images to skip at the start.
            limit: number of images to use after that; null is all.
        """
        return cls(read_images(images, skip, limit))

    def law(self, like: Tensor) -> WeightedImages:
        images = self.images.flatten(1).to(like)
        return WeightedImages(like.new_zeros(1, len(images)), images[None])

    @torch.no_grad()
    def posterior(self, measurement: Measurement) -> WeightedImages:
        """p(x_0 | y), in double precision; without noise, equal weights for the images nearest to y."""
        operator, y = linear(measurement), self.working(measurement.y.flatten(1))
        law, images = self.law(y), self.images.to(y)
        distances = []
        if operator.per_sample:
            for row in range(len(y)):  # one at a time, because a row needs the memory of K measurements
                rows = torch.full((len(images),), row, device=y.device)
                distances.append((operator.rows(rows)(images).flatten(1) - y[row]).square().sum(1))
        else:
            measured = operator(images).flatten(1)
            distances = [(measured - one).square().sum(1) for one in y]
        squares = torch.stack(distances) if distances else y.new_zeros(0, len(images))
        least = squares.amin(1, keepdim=True)
        if measurement.noise_std == 0:
            log_weights = torch.where(squares <= least * (1 + 1e-9) + 1e-18, 0.0, -torch.inf).to(y)
        else:
            log_weights = (least - squares) / (2 * measurement.noise_std**2)
        return WeightedImages(log_weights, law.means)
