"""Variance-scaled DPS, VSDPS (arXiv 2503.20297)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.dps import Dps
from rps.samplers.reverse import clipped
from rps.settings import not_negative


class VsDps(Dps):
    """x' = alpha' clip(x0hat) + sqrt(sigma'^2 - s^2) eps + lambda s z - xi grad_x ||y - A(x0hat(x))||_2.

    DPS with its noise scaled and its mean unchanged: lambda = 1 is DPS, lambda = 0 tends to the posterior mean. One
    network call per step, differentiated with respect to its input.

    Args:
        noise_scale: lambda.
        step_size: xi; published values grow as lambda decreases; None is derived, see rps.samplers.Dps.
        clip: whether to clip x0hat to [-1, 1] in the update; None clips images but not latents.
        blend: whether to blend x_t with its re-noised estimate before the ancestral mean, as in the published runs:
            x~ = alpha (alpha clip(x0hat) + sigma eps) + (1 - alpha) x_t. Without clipping this changes nothing, since
            x_t = alpha x0hat + sigma eps; False, like Dps, uses the estimate alone.
        legacy: whether to reproduce the errors of the published runs, see Dps.
    """

    def __init__(
        self,
        noise_scale: float = 1.0,
        step_size: float | None = None,
        clip: bool | None = None,
        blend: bool = False,
        legacy: bool = False,
    ) -> None:
        super().__init__(step_size, clip, legacy=legacy)
        not_negative(noise_scale=noise_scale)
        self.noise_scale, self.blend = noise_scale, blend

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        denoised, gradient, loss = self.guided(x, t, measurement, prior, noise)
        with torch.no_grad():
            schedule = prior.schedule
            mean, s = self.law(denoised, t, t_next, prior)
            if self.blend:
                (alpha, sigma), sigma_next = schedule.at(t, x), schedule.at(t_next, x)[1]
                keep = (sigma_next**2 - schedule.reverse_std(t, t_next, x) ** 2).clamp(min=0).sqrt()
                lost = denoised.x0 - clipped(denoised, prior, self.clip).x0
                # keep / sigma is the coefficient of x_t in the ancestral mean; the rest is x~ - (alpha x0 + sigma eps).
                mean = mean + keep / sigma * (1 - alpha / schedule.norm(t, x)) * alpha * lost
            z = noise.normal(x.shape[1:]).to(x.dtype)
            xi = self.scale(gradient, loss, t, t_next, measurement, prior)
            return mean + self.noise_scale * s * z - xi * gradient
