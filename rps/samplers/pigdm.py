"""Pseudo-inverse-guided diffusion, PiGDM (OpenReview 9_gsMA8MRKQ, ICLR 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.guidance import through_denoiser
from rps.samplers.linear import guidance, linear_operator
from rps.samplers.reverse import clipped, condition, reverse_step
from rps.schedule import Schedule, check_alpha
from rps.settings import not_negative


class PiGdm(Sampler):
    """g = (d x0hat / d x_t)^T A^T (r^2 A A^T + sigma_y^2 I)^-1 (y - A x0hat), the gradient of log p(y | x_t) if
    p(x_0 | x_t) = N(x0hat, r^2 I); then a DDIM step guided by g.

    r^2 = v sigma^2 / (sigma^2 + alpha^2 v) is exact for images of prior variance v, p(x_0) = N(m, v I). The published
    r^2 = sigma^2 / (sigma^2 + alpha^2), that is 1 - abar, has v = 1. One network call per step, differentiated with
    respect to its input.

    Args:
        prior_variance: v.
        eta: noise share of the DDIM step; 1 is ancestral.
        update: "posterior" steps with the mean and noise of p(x_t | y), x0hat + sigma^2 / alpha g and eps - sigma g; if
            r^2 is right, it converges to the posterior with more steps. "published" adds alpha r^2 g to the step of the
            prior, the full pull of the data whatever the length of the step; it suits 20 to 100 steps in all, and with
            more it fits the noise.
        clip: whether to clip to [-1, 1]. "posterior" clips the mean of p(x_0 | x_t, y) and recomputes the noise,
            because the Jacobian of a network is useless at high noise, and without clipping its error grows until the
            chain diverges. "published" clips x0hat and never uses a learned variance.
    """

    default_steps = 100

    def __init__(
        self,
        prior_variance: float = 1.0,
        eta: float = 1.0,
        update: Literal["posterior", "published"] = "posterior",
        clip: bool = True,
    ) -> None:
        not_negative(prior_variance=prior_variance)
        if not prior_variance > 0:
            raise ValueError(f"prior_variance must be > 0, got {prior_variance}")
        if update not in ("posterior", "published"):
            raise ValueError(f"update must be posterior or published, got {update!r}")
        not_negative(eta=eta)
        self.prior_variance, self.eta, self.update, self.clip = prior_variance, eta, update, clip

    def check(self, measurement: Measurement, prior: Prior) -> None:
        linear_operator(measurement, prior, self)

    def timesteps(self, schedule: Schedule, t0: int, steps: int | None = None) -> list[int]:
        """The timesteps of a chain.  Errors: ValueError if alpha is 0 at one of them and the update divides by it."""
        found = super().timesteps(schedule, t0, steps)
        if self.update == "posterior":
            check_alpha(schedule, found, "PiGdm with its posterior update")
        return found

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        operator, schedule = linear_operator(measurement, prior, self), prior.schedule
        alpha, sigma = schedule.at(t, x)
        r2 = self.prior_variance * sigma**2 / (sigma**2 + alpha**2 * self.prior_variance)

        def log_likelihood(x0: Tensor) -> Tensor:
            """A function whose gradient in x0 is v = A^T (r^2 A A^T + sigma_y^2 I)^-1 (y - A x0)."""
            v = guidance(operator, measurement.residual(x0.detach()), r2, measurement.noise_std)
            return (v * x0).flatten(1).sum(1)

        denoised, g, _ = through_denoiser(x, t, prior, log_likelihood)
        with torch.no_grad():
            if self.update == "published":
                prior_step = clipped(denoised, prior, self.clip)._replace(variance_fraction=None)
                moved = reverse_step(prior_step, t, t_next, schedule, noise, self.eta)
                return moved + schedule.norm(t_next, x) * alpha * r2 * g
            denoised = condition(denoised, g, t, schedule)
            if self.clip:
                x0 = denoised.x0.clamp(-1, 1)
                denoised = denoised._replace(x0=x0, eps=(x - alpha * x0) / sigma)
            return reverse_step(denoised, t, t_next, schedule, noise, self.eta)
