"""Diffusion posterior sampling, DPS (arXiv 2209.14687)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler, per_row
from rps.samplers.guidance import through_denoiser
from rps.samplers.reverse import reverse_step


class Dps(Sampler):
    """x' = alpha' clip(x0hat) + sqrt(sigma'^2 - s^2) eps + s z - xi grad_x ||y - A(x0hat(x))||_2.

    The norm is not squared and taken per image; s is the ancestral standard deviation, learned where the network has
    learned it. One network call a step, differentiated with respect to its input.

    Args:
        step_size: xi, constant in time; with `with_settings` one number per row.
        clip: clip x0hat to [-1, 1] in the update (not in the gradient).
    """

    row_settings: tuple[str, ...] = ("step_size",)

    def __init__(self, step_size: float = 1.0, clip: bool = True) -> None:
        self.step_size = step_size
        self.clip = clip

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        denoised, guidance = self.guided(x, t, measurement, prior)
        with torch.no_grad():
            moved = reverse_step(self.clipped(denoised), t, t_next, prior.schedule, noise)
            return moved - per_row(self.step_size, x) * guidance

    def guided(self, x: Tensor, t: Tensor, measurement: Measurement, prior: Prior) -> tuple[Denoised, Tensor]:
        """(the denoised image, grad_x ||y - A(x0hat(x))||_2)."""
        return through_denoiser(x, t, prior, lambda x0: measurement.residual_norm(prior.decode(x0)))

    def clipped(self, denoised: Denoised) -> Denoised:
        return denoised._replace(x0=denoised.x0.clamp(-1, 1)) if self.clip else denoised
