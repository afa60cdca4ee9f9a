"""RED-diff: a variational estimate with the denoiser as regulariser (arXiv 2305.04391)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.pseudo_inverse import PseudoInverse
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.samplers.derived_step import LEAST_NOISE
from rps.samplers.guidance import data_gradient
from rps.schedule import Schedule, check_alpha
from rps.settings import at_least_one, not_negative


class RedDiff(Estimator):
    """mu = argmin mean((y - A(mu))^2) / 2 + lambda_t mean((eps_theta(x_t) - e) mu), x_t = alpha mu + sigma e,
    lambda_t = lam sigma / alpha, by one Adam step (betas .9, .99) for each t of a descending grid, from mu = A^+ y.

    Published weights do not depend on the noise and let the last steps fit it. By default mu seeks the posterior mean:
    the weight is that with which each step is at rest at E[x | y] if p(x_0) = N(0, s^2 I) and A = I, s the prior's
    `data_std`, so that 2 m / d lambda_t = 2 noise_std^2 (alpha / sigma + sigma / (alpha s^2)), and steps shorten with
    sigma / alpha.

    The means, over the m numbers of y and the d numbers of mu, are those of the authors' code, for which lam is
    published. As sums, the loss is ||y - A(mu)||^2 + 2 m / d lambda_t <eps_theta(x_t) - e, mu>. One network call per
    step, never differentiated. Published settings disagree: 100 steps, lr .5, lam .25, or 1000 steps, lr .25, lam 1.

    Args:
        num_steps: number of timesteps in the grid from T - 1 down to 0.
        lr: learning rate of Adam; None is .5 min(sigma / alpha, 1).
        lam: weight of the prior; None is derived, see above, for a noise_std of at least .01.
        rcond: smallest singular value, relative to the largest, that the pseudo-inverse keeps; mu starts at A^+ y.
    """

    def __init__(
        self, num_steps: int = 100, lr: float | None = None, lam: float | None = None, rcond: float = 0.1
    ) -> None:
        not_negative(lr=lr, lam=lam)
        at_least_one(num_steps=num_steps)
        self.num_steps, self.lr, self.lam = num_steps, lr, lam
        self.rcond, self.start = rcond, PseudoInverse(rcond)

    def network_calls(self, schedule: Schedule) -> int:
        return self.num_steps

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        schedule = prior.schedule
        mu = self.start.estimate(measurement, prior).clone()
        streams = measurement.streams.at("stage1")
        share = 2 * measurement.y[:1].numel() / mu[:1].numel() if len(mu) else 1.0
        variance = max(measurement.noise_std, LEAST_NOISE) ** 2
        optimizer = torch.optim.Adam([mu], betas=(0.9, 0.99))
        timesteps = schedule.grid(len(schedule), self.num_steps)
        check_alpha(schedule, timesteps, "RedDiff")
        for step in timesteps:
            t = torch.full((len(mu),), step, dtype=torch.int64, device=mu.device)
            with torch.no_grad():
                e = streams.at_step(t).normal(mu.shape[1:]).to(mu)
                eps = prior.denoise(schedule.add_noise(mu, e, t), t).eps
            nu = schedule.sigma(step) / schedule.alpha(step)
            weight = 2 * variance * (1 / nu + nu / prior.data_std**2) if self.lam is None else share * self.lam * nu
            optimizer.param_groups[0]["lr"] = 0.5 * min(nu, 1) if self.lr is None else self.lr
            mu.grad = data_gradient(mu, measurement, prior).add_(eps - e, alpha=weight)
            optimizer.step()
        return mu.detach()
