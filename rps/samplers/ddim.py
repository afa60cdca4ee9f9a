"""The deterministic step of DDIM, which ignores y: for networks that were trained for the measurement."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.reverse import reverse_law
from rps.settings import not_negative


class Ddim(Sampler):
    """x' = alpha' x0hat + sigma' eps (arXiv 2010.02502, eq. 12 with eta = 0), which ignores y.

    It runs priors that see y themselves: rps.priors.ConditionalGenerator, for which it is the generator in one step,
    and rps.priors.Pmrf. Any other prior gives unconditional samples. One network call per step, not differentiated.

    Args:
        sigma_z: scale of the noise from which a chain starts at T; the knob of PSCGAN-z (arXiv 2103.04192) in [0, 1].
    """

    default_steps = 1

    def __init__(self, sigma_z: float = 1.0) -> None:
        not_negative(sigma_z=sigma_z)
        self.sigma_z = sigma_z

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        start = (t == len(prior.schedule) - 1).view(-1, *(1,) * (x.ndim - 1))
        x = torch.where(start, self.sigma_z * x, x)
        return reverse_law(prior.denoise(x, t), t, t_next, prior.schedule, 0.0)[0]
