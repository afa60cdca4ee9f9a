"""Hard data consistency in latent space, ReSample (arXiv 2307.08123)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.fitting import fit
from rps.samplers.reverse import reverse_step
from rps.schedule import CLEAN
from rps.settings import not_negative


class ReSample(Sampler):
    """z'' = the DDIM step from z (eta = 0). If the step crosses a multiple of `period`, z0(y) solves
    min ||y - A(D(z0))||^2 from z0hat, and
        z' ~ N((s^2 alpha' z0(y) + sigma'^2 z'') / (s^2 + sigma'^2), s^2 sigma'^2 / (s^2 + sigma'^2) I),
        s^2 = gamma sigma'^2 / abar (1 - abar / abar'),  abar = alpha^2 / (alpha^2 + sigma^2);
    otherwise, and for t >= fit_below, z' = z''. The last step, t' = CLEAN, returns z0(y). One network call per step,
    not differentiated.

    Steps, rates, thirds and gamma are those of the authors' code (github.com/soominkwon/resample), which differs
    otherwise: it also takes a step of latent DPS at every time, fits the estimate of DDIM five steps later, stops at a
    mean squared residual of 1e-6 whatever the noise, and has 1 - abar instead of abar in s^2.

    Args:
        period: timesteps between two fits; published every tenth of 500 steps, which is 20 of T = 1000.
        pixel_steps: AdamW steps on the image D(z0hat), which is then encoded, at times t >= latent_below.
        pixel_lr: learning rate of these steps.
        latent_steps: AdamW steps on z0hat, at times t < latent_below, where the noise is small enough for details.
        latent_lr: learning rate of these steps.
        latent_below: timestep below which z0hat itself is fitted; the default is a third of the chain.
        gamma: factor of s^2, see above.
        tolerance: a row stops once its residual is at most tolerance * noise_std * sqrt(m).
        fit_below: timestep at and above which nothing is fitted; published 667, which excludes the first third; None
            fits at all times.
    """

    default_steps = 500

    def __init__(
        self,
        period: int = 20,
        pixel_steps: int = 2000,
        pixel_lr: float = 1e-2,
        latent_steps: int = 500,
        latent_lr: float = 5e-3,
        latent_below: int = 333,
        gamma: float = 40.0,
        tolerance: float = 1.0,
        fit_below: int | None = None,
    ) -> None:
        not_negative(pixel_steps=pixel_steps, pixel_lr=pixel_lr, latent_steps=latent_steps, latent_lr=latent_lr)
        not_negative(gamma=gamma, tolerance=tolerance)
        if period < 1 or gamma == 0:
            raise ValueError(f"period must be >= 1 and gamma > 0, got {period} and {gamma}")
        self.period, self.gamma, self.tolerance, self.fit_below = period, gamma, tolerance, fit_below
        self.pixel_steps, self.pixel_lr = pixel_steps, pixel_lr
        self.latent_steps, self.latent_lr, self.latent_below = latent_steps, latent_lr, latent_below

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        schedule = prior.schedule
        denoised = prior.denoise(x, t)
        moved = reverse_step(denoised, t, t_next, schedule, noise, eta=0.0)
        crosses = t.div(self.period, rounding_mode="floor") != t_next.div(self.period, rounding_mode="floor")
        if self.fit_below is not None:
            crosses = crosses & ((t < self.fit_below) | (t_next == CLEAN))
        z0 = denoised.x0.clone()
        for late in (False, True):
            rows = torch.nonzero(crosses & ((t < self.latent_below) == late)).flatten()
            if len(rows):
                z0[rows] = self.consistent(z0[rows], measurement.rows(rows), prior, late)
        alpha_next, sigma_next = schedule.at(t_next, x)
        abar, abar_next = ((schedule.at(time, x)[0] / schedule.norm(time, x)) ** 2 for time in (t, t_next))
        ratio = self.gamma * (1 - abar / abar_next)  # s^2 abar / sigma'^2
        share = torch.where(sigma_next > 0, ratio / (ratio + abar), 1.0)  # of z0(y): s^2 / (s^2 + sigma'^2)
        n = noise.normal(x.shape[1:]).to(x)
        sampled = share * alpha_next * z0 + (1 - share) * moved + (share * sigma_next**2).sqrt() * n
        return torch.where(crosses.view(-1, *(1,) * (x.ndim - 1)), sampled, moved)

    def consistent(self, z0: Tensor, measurement: Measurement, prior: Prior, late: bool) -> Tensor:
        """z0(y), by fitting z0 itself if late, else its image."""
        own = prior.given(measurement)
        if late:
            return fit(z0, measurement, own.decode, self.latent_steps, self.latent_lr, self.tolerance)
        image = own.decode(z0)
        return own.encode(fit(image, measurement, lambda v: v, self.pixel_steps, self.pixel_lr, self.tolerance))
