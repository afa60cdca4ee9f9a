"""Diffusion posterior sampling, DPS (arXiv 2209.14687)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.derived_step import derived_step
from rps.samplers.guidance import Guided, image_of, through_prior
from rps.samplers.legacy import legacy_std
from rps.samplers.reverse import clipped, reverse_law
from rps.settings import not_negative


class Dps(Sampler):
    """x' = alpha' clip(x0hat) + sqrt(sigma'^2 - s^2) eps + s z - xi grad_x ||y - A(D(x0hat(x)))||_2.

    The norm is per image and not squared; s is the ancestral standard deviation, or for z the learned one if the
    network predicts it; D is the identity for pixel models. One network call per step, differentiated with respect to
    its input.

    Args:
        step_size: xi, constant in time, for x in units of sqrt(alpha^2 + sigma^2), which is 1 in DDPM; published 1 on a
            grid of all T timesteps. None derives it from the schedule, the noise and the residual at every step
            (rps.samplers.derived_step), which suits any prior, task and grid.
        clip: whether to clip x0hat to [-1, 1] in the update; None clips images but not latents.
        squared: whether to square the norm.
        decay: whether to use xi alpha_t^2 (that is, xi abar_t) instead of a given xi.
        clip_image: whether to clip D(x0hat) to [-1, 1] in the gradient.
        clip_gradient: whether the gradient also goes through clip(x0hat), as in the original DPS, so that it is zero at
            pixels where x0hat is clipped.
        legacy: whether to reproduce the runs of arXiv 2605.28711: clip_gradient, and a learned noise with two errors,
            see rps.samplers.legacy.legacy_std.
        per_timestep: whether a given xi is the size for one timestep, so that a step over k of them, to t' = t - k,
            takes k xi: then one value suits grids of any number of steps. Otherwise every step takes xi, as published.
        step_factor: factor of log p(y | x_t) in the derived step.
    """

    def __init__(
        self,
        step_size: float | None = None,
        clip: bool | None = None,
        squared: bool = False,
        decay: bool = False,
        clip_image: bool = False,
        clip_gradient: bool = False,
        legacy: bool = False,
        per_timestep: bool = False,
        step_factor: float = 1.0,
    ) -> None:
        not_negative(step_size=step_size, step_factor=step_factor)
        self.step_size, self.step_factor = step_size, step_factor
        self.clip = clip
        self.squared, self.decay, self.clip_image = squared, decay, clip_image
        self.clip_gradient, self.legacy = clip_gradient or legacy, legacy
        self.per_timestep = per_timestep

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        denoised, gradient, loss = self.guided(x, t, measurement, prior, noise)
        with torch.no_grad():
            mean, std = self.law(denoised, t, t_next, prior)
            moved = mean + std * noise.normal(x.shape[1:]).to(x)
            return moved - self.scale(gradient, loss, t, t_next, measurement, prior) * gradient

    def scale(
        self, gradient: Tensor, loss: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior
    ) -> Tensor:
        """The factor of the gradient: xi, times abar_t with `decay`, times t - t' with `per_timestep`."""
        schedule = prior.schedule
        if self.step_size is None:
            power = 2 if self.squared else 1
            return derived_step(gradient, loss, power, t, t_next, measurement, schedule, self.step_factor)
        # The step is taken in the variance-preserving form x / norm, whatever the schedule.
        xi = self.step_size * schedule.norm(t, gradient) * schedule.norm(t_next, gradient)
        if self.decay:
            xi = xi * (schedule.at(t, gradient)[0] / schedule.norm(t, gradient)) ** 2
        return xi * (t - t_next).view(xi.shape) if self.per_timestep else xi

    def law(self, denoised: Denoised, t: Tensor, t_next: Tensor, prior: Prior) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the unguided step."""
        mean, std = reverse_law(clipped(denoised, prior, self.clip), t, t_next, prior.schedule)
        if self.legacy and denoised.variance_fraction is not None:
            std = legacy_std(denoised, t, t_next, prior.schedule)
        return mean, std

    def guided(self, x: Tensor, t: Tensor, measurement: Measurement, prior: Prior, noise: Streams) -> Guided:
        """The denoised image, grad_x of the loss, and the loss."""

        def loss(_: Tensor, denoised: Denoised) -> Tensor:
            seen = clipped(denoised, prior, self.clip) if self.clip_gradient else denoised
            return self.misfit(image_of(seen.x0, prior, self.clip_image), measurement)

        return through_prior(x, t, prior, loss)

    def misfit(self, image: Tensor, measurement: Measurement) -> Tensor:
        """||y - A(image)||_2, or its square.  -> [N]."""
        if self.squared:
            return measurement.residual(image).flatten(1).square().sum(1)
        return measurement.residual_norm(image)
