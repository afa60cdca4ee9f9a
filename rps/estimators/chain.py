"""Estimators that run one reverse chain: RMP and DMAP."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.estimators.base import Estimator
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.samplers.base import Sampler
from rps.samplers.chains import Chain, run_chains
from rps.samplers.dmap import Dmap
from rps.samplers.vsdps import VsDps
from rps.schedule import Schedule
from rps.settings import at_least_one


class ChainEstimator(Estimator):
    """x_0 of one reverse chain from x_T = sigma_T z, for samplers that seek a mode or a mean.

    Args:
        sampler: sampler that takes the steps.
        num_steps: number of timesteps in the sampler's grid.
    """

    def __init__(self, sampler: Sampler, num_steps: int = 1000) -> None:
        at_least_one(num_steps=num_steps)
        self.sampler, self.num_steps = sampler, num_steps

    def network_calls(self, schedule: Schedule) -> int:
        return self.sampler.network_calls(self.num_steps)

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        schedule = prior.schedule
        timesteps = self.sampler.timesteps(schedule, len(schedule), self.num_steps)
        y = measurement.y
        zero = torch.zeros(len(y), *prior.sample_shape, dtype=y.dtype, device=y.device)
        chain = Chain.renoised(zero, timesteps, measurement.streams.at("stage1"), schedule, self.sampler)
        (x,), _ = run_chains([chain], measurement, CountedPrior.of(prior))
        return x


class RmpEstimator(ChainEstimator):
    """VSDPS at lambda = 0, the noiseless reverse process, which tends to the posterior mean (arXiv 2503.20297).

    One network call per step, differentiated with respect to its input.

    Args:
        step_size: xi; None is derived, see rps.samplers.Dps. Published denoise 6, inpainting 9, sr4 9, deblur 17.
        num_steps: number of timesteps in the sampler's grid.
        clip: whether to clip the denoised image to [-1, 1]; None clips images but not latents.
        blend: whether to blend x_t with its re-noised estimate, see rps.samplers.VsDps.
        legacy: whether to reproduce the errors of the published runs, see rps.samplers.Dps.
    """

    def __init__(
        self,
        step_size: float | None = None,
        num_steps: int = 1000,
        clip: bool | None = None,
        blend: bool = False,
        legacy: bool = False,
    ) -> None:
        super().__init__(VsDps(0.0, step_size, clip, blend, legacy), num_steps)
        self.step_size, self.clip, self.blend, self.legacy = step_size, clip, blend, legacy


class DmapEstimator(ChainEstimator):
    """DMAP: at each time a mode of p(x_t' | x_t, y) instead of a sample (arXiv 2501.18913); see rps.samplers.Dmap.

    1 + ascents network calls per step, those of the ascents differentiated with respect to their input.

    Args:
        step_size: xi.
        radius: radius of the sphere, in units of s sqrt(d).
        ascents: number of gradient steps at each time.
        num_steps: number of timesteps in the sampler's grid.
    """

    def __init__(self, step_size: float = 1.0, radius: float = 1.0, ascents: int = 2, num_steps: int = 1000) -> None:
        super().__init__(Dmap(step_size, radius, ascents), num_steps)
        self.step_size, self.radius, self.ascents = step_size, radius, ascents
