"""Diffusion model based posterior sampling, DMPS (arXiv 2211.12343)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.linear import guidance, linear_operator
from rps.samplers.reverse import clipped, condition, reverse_step
from rps.schedule import Schedule, check_alpha
from rps.settings import not_negative


class Dmps(Sampler):
    """g = 1/alpha A^T (sigma_y^2 I + (sigma/alpha)^2 A A^T)^-1 (y - A x_t / alpha), the gradient of log p(y | x_t) for
    a flat prior, for which p(x_0 | x_t) = N(x_t / alpha, (sigma/alpha)^2 I); then an ancestral step guided by g.

    One network call per step, not differentiated. Needs a linear operator.

    Args:
        scale: factor of g; 1 is the equation.
        eta: noise share of the DDIM step; 1 is ancestral.
        clip: whether to clip x0hat to [-1, 1] before guidance, as the runs of arXiv 2605.28711 do.
    """

    def __init__(self, scale: float = 1.0, eta: float = 1.0, clip: bool = False) -> None:
        not_negative(scale=scale, eta=eta)
        self.scale, self.eta, self.clip = scale, eta, clip

    def check(self, measurement: Measurement, prior: Prior) -> None:
        linear_operator(measurement, prior, self)

    def timesteps(self, schedule: Schedule, t0: int, steps: int | None = None) -> list[int]:
        """The timesteps of a chain.  Errors: ValueError if alpha is 0 at one of them, since g divides by alpha."""
        found = super().timesteps(schedule, t0, steps)
        check_alpha(schedule, found, "Dmps")
        return found

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        operator, schedule = linear_operator(measurement, prior, self), prior.schedule
        alpha, sigma = schedule.at(t, x)
        r2 = (sigma / alpha) ** 2
        g = guidance(operator, measurement.residual(x / alpha), r2, measurement.noise_std) / alpha
        denoised = clipped(prior.denoise(x, t), prior, self.clip)
        denoised = condition(denoised, self.scale * g, t, schedule)
        return reverse_step(denoised, t, t_next, schedule, noise, self.eta)
