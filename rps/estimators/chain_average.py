"""A posterior mean from a first estimate and the average of sampled chains."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.proximal_map import ProximalMap
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.samplers.base import Sampler
from rps.samplers.chains import Chain, run_chains
from rps.samplers.dps import Dps
from rps.schedule import Schedule
from rps.settings import at_least_one


class ChainAverage(Estimator):
    """x = w x_1 + (1 - w) m,  m = (1/K) sum_k s_k,  w = (v/K) / (b^2 + v/K),

    where x_1 is the first estimate and s_k are K chains of posterior samples from x_1 re-noised to t0. If the s_k are
    posterior samples, m has variance v/K about E[x_0 | y], and x_1 has a bias b: this w then has the least mean
    squared error b^2 (v/K) / (b^2 + v/K), which is below that of x_1 and of m and falls to 0 with K. Per image, v is
    the variance of the chains and b^2 = max(|x_1 - m|^2 - v/K, 0), as means over the pixels (empirical Bayes).

    The chains of an approximate sampler have a bias of their own, which is taken for that of x_1: the average pays
    where x_1 is poor (masks, compressed sensing) and not where it is good (docs/ablations.md). Where x_1 is E[x_0 | y]
    itself there are no chains. The calls of the chains are differentiated if the sampler differentiates them.

    Args:
        first: the estimate x_1.
        sampler: posterior-sampling step of the chains.
        chains: K, at least 2; 0 returns x_1. The cost grows in proportion.
        t0: noise level at which the chains start, in timesteps.
        steps: number of timesteps in the grid of the chains over all T; None uses all T.
    """

    def __init__(
        self,
        first: Estimator = ProximalMap(),
        sampler: Sampler = Dps(),
        chains: int = 4,
        t0: int = 400,
        steps: int | None = 25,
    ) -> None:
        at_least_one(steps=steps, t0=t0)
        if chains < 0 or chains == 1:
            raise ValueError(f"chains must be 0, or at least 2 to estimate their variance, got {chains}")
        self.first, self.sampler, self.chains, self.t0, self.steps = first, sampler, chains, t0, steps

    def network_calls(self, schedule: Schedule) -> int:
        """Network calls per image; those of x_1 alone where it is the posterior mean."""
        steps = len(self.sampler.timesteps(schedule, self.t0, self.steps))
        return self.first.network_calls(schedule) + self.chains * self.sampler.network_calls(steps)

    def is_posterior_mean(self, measurement: Measurement, prior: Prior) -> bool:
        return self.first.is_posterior_mean(measurement, prior)

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        return self.estimate_and_spread(measurement, prior)[0]

    @torch.no_grad()
    def estimate_and_spread(self, measurement: Measurement, prior: Prior) -> tuple[Tensor, Tensor | None]:
        """The estimate, and the standard deviation of the chains: sqrt(K) times the standard error of m."""
        x1, spread = self.first.estimate_and_spread(measurement, prior)
        if not self.chains or self.is_posterior_mean(measurement, prior):
            return x1, spread
        self.sampler.check(measurement, prior)
        timesteps = self.sampler.timesteps(prior.schedule, self.t0, self.steps)
        streams = measurement.streams.at("stage1")
        chains = [
            Chain.renoised(x1, timesteps, streams.at("chain", k), prior.schedule, self.sampler)
            for k in range(self.chains)
        ]
        samples, _ = run_chains(chains, measurement, CountedPrior.of(prior))
        mean = torch.stack(samples).mean(0)
        variance = torch.stack(samples).var(0)

        def per_image(x: Tensor) -> Tensor:
            return x.flatten(1).mean(1).view(-1, *(1,) * (x.ndim - 1))

        error = per_image(variance) / self.chains
        bias = (per_image((x1 - mean).square()) - error).clamp(min=0)
        w = error / (bias + error).clamp(min=torch.finfo(error.dtype).tiny)
        return w * x1 + (1 - w) * mean, variance.sqrt()
