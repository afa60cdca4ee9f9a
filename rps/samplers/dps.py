"""Diffusion posterior sampling, DPS (arXiv 2209.14687)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler, per_row
from rps.samplers.guidance import image_of, through_denoiser
from rps.samplers.reverse import reverse_step
from rps.settings import not_negative


class Dps(Sampler):
    """x' = alpha' clip(x0hat) + sqrt(sigma'^2 - s^2) eps + s z - xi grad_x ||y - A(D(x0hat(x)))||_2.

    The norm is not squared and taken per image; s is the ancestral standard deviation, learned where the network has
    learned it; D is the identity for pixel models. One network call a step, differentiated with respect to its input.

    Args:
        step_size: xi, constant in time, for x in units of sqrt(alpha^2 + sigma^2), which is 1 in DDPM; with
            `with_settings` one number per row.
        clip: clip x0hat to [-1, 1] in the update (not in the gradient).
        squared: the square of the norm in its place.
        decay: xi alpha_t^2 (that is abar_t) in place of xi.
        clip_image: clip D(x0hat) to [-1, 1] in the gradient.
    """

    row_settings: tuple[str, ...] = ("step_size",)

    def __init__(
        self,
        step_size: float = 1.0,
        clip: bool = True,
        squared: bool = False,
        decay: bool = False,
        clip_image: bool = False,
    ) -> None:
        not_negative(step_size=step_size)
        self.step_size = step_size
        self.clip = clip
        self.squared, self.decay, self.clip_image = squared, decay, clip_image

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        denoised, guidance = self.guided(x, t, measurement, prior, noise)
        with torch.no_grad():
            schedule = prior.schedule
            moved = reverse_step(self.clipped(denoised), t, t_next, schedule, noise)
            # The step is taken in the variance-preserving form x / norm, whatever the schedule.
            return moved - self.scale(x, t, prior) * schedule.norm(t, x) * schedule.norm(t_next, x) * guidance

    def scale(self, x: Tensor, t: Tensor, prior: Prior) -> float | Tensor:
        """What multiplies the gradient: xi, or xi abar_t."""
        xi: float | Tensor = per_row(self.step_size, x)
        return xi * (prior.schedule.at(t, x)[0] / prior.schedule.norm(t, x)) ** 2 if self.decay else xi

    def guided(
        self, x: Tensor, t: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> tuple[Denoised, Tensor]:
        """(the denoised image, grad_x of the loss)."""
        return through_denoiser(x, t, prior, lambda x0: self.misfit(image_of(x0, prior, self.clip_image), measurement))

    def misfit(self, image: Tensor, measurement: Measurement) -> Tensor:
        """||y - A(image)||_2, or its square.  -> [N]."""
        if self.squared:
            return measurement.residual(image).flatten(1).square().sum(1)
        return measurement.residual_norm(image)

    def clipped(self, denoised: Denoised) -> Denoised:
        return denoised._replace(x0=denoised.x0.clamp(-1, 1)) if self.clip else denoised
