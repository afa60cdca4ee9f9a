"""Diffusion posterior sampling, DPS (arXiv 2209.14687)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler


class Dps(Sampler):
    """x' = alpha' clip(x0hat) + sqrt(sigma'^2 - s^2) eps + s z - xi grad_x ||y - A(x0hat(x))||_2.

    The norm is not squared and taken per image; s is the ancestral standard deviation, learned where the network has
    learned it. One network call a step, differentiated with respect to its input.

    Args:
        step_size: xi, constant in time.
        clip: clip x0hat to [-1, 1] in the update (not in the gradient).
    """

    def __init__(self, step_size: float = 1.0, clip: bool = True) -> None:
        self.step_size = step_size
        self.clip = clip

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            denoised = prior.denoise(x, t)
            distance = measurement.residual_norm(prior.decode(denoised.x0))
            (guidance,) = torch.autograd.grad(distance.sum(), x)
        with torch.no_grad():
            x0, eps = denoised.x0.detach(), denoised.eps.detach()
            s = prior.schedule.reverse_std(t, t_next, x, denoised.variance_fraction)
            alpha_next, sigma_next = prior.schedule.at(t_next, x)
            mean = (
                alpha_next * (x0.clamp(-1, 1) if self.clip else x0) + (sigma_next**2 - s**2).clamp(min=0).sqrt() * eps
            )
            return mean + s * noise.normal(x.shape[1:]).to(x.dtype) - self.step_size * guidance
