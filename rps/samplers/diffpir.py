"""Plug-and-play restoration with a diffusion prior, DiffPIR (arXiv 2305.08995)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.linear import linear_operator, spectral
from rps.settings import not_negative


class DiffPir(Sampler):
    """x0 = argmin_x ||y - A x||^2 / (2 sigma_y^2) + ||x - x0hat||^2 / (2 r^2),  r^2 = (sigma/alpha)^2 / lam;
    x' = alpha' x0 + sigma' (sqrt(1 - zeta) (x_t - alpha x0) / sigma + sqrt(zeta) z).

    One network call per step, not differentiated. Needs a linear operator. For sigma_y = 0, x0 = x0hat +
    A^+ (y - A x0hat).

    Args:
        lam: weight of the denoiser. Published 1 to 7 in code whose images are in [-1, 1] but whose sigma_y is in [0, 1]
            units, which is .25 to 1.75 in this equation.
        zeta: share of fresh noise, in [0, 1]; published .1 for deblurring, .1 to .25 for super-resolution, 1 for
            inpainting.
    """

    default_steps = 100

    def __init__(self, lam: float = 1.75, zeta: float = 0.1) -> None:
        not_negative(lam=lam, zeta=zeta)
        if not lam > 0 or not 0 <= zeta <= 1:
            raise ValueError(f"lam must be > 0 and zeta between 0 and 1, got {lam} and {zeta}")
        self.lam, self.zeta = lam, zeta

    def check(self, measurement: Measurement, prior: Prior) -> None:
        linear_operator(measurement, prior, self)

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        operator, schedule = linear_operator(measurement, prior, self), prior.schedule
        (alpha, sigma), (alpha_next, sigma_next) = schedule.at(t, x), schedule.at(t_next, x)
        zeta = self.zeta
        x0hat, rho = prior.denoise(x, t).x0, self.lam * (measurement.noise_std * alpha / sigma) ** 2  # sigma_y^2 / r^2
        x0 = x0hat + spectral(operator, measurement.residual(x0hat), lambda s: s / (s**2 + rho))
        eps, z = (x - alpha * x0) / sigma, noise.normal(x.shape[1:]).to(x)
        return alpha_next * x0 + sigma_next * ((1 - zeta) ** 0.5 * eps + zeta**0.5 * z)
