"""The exact reverse step of p(x | y), for analytic priors."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler


class ExactPosterior(Sampler):
    """x_0 ~ p(x_0 | x_t, y), then x_t' ~ q(x_t' | x_t, x_0), the bridge. Exact. No network calls.

    Needs an analytic prior (GaussianMixturePrior, LowRankMixturePrior, EmpiricalPrior) and a linear operator.
    """

    def network_calls(self, steps: int) -> int:
        return 0

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        schedule, flat = prior.schedule, x.flatten(1)
        alpha, sigma = schedule.at(t, flat)
        posterior = prior.posterior_at(x, t, measurement)
        normal = noise.at("x0").normal((posterior.noises,)).to(posterior.means)
        x0 = posterior.sample(noise.at("component").uniform((1,)), normal).to(x)
        s = schedule.reverse_std(t, t_next, flat)
        alpha_next, sigma_next = schedule.at(t_next, flat)
        eps = (flat - alpha * x0) / sigma
        bridge = alpha_next * x0 + (sigma_next**2 - s**2).clamp(min=0).sqrt() * eps
        return (bridge + s * noise.at("bridge").normal((flat.shape[1],)).to(x)).view_as(x)
