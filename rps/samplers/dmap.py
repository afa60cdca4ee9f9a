"""The step of DMAP, which ascends to a mode of p(x_t' | x_t, y) instead of sampling it (arXiv 2501.18913)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.dps import Dps
from rps.samplers.guidance import norm_of
from rps.schedule import CLEAN
from rps.settings import not_negative


class Dmap(Dps):
    """x' = mu + s z, mu and s the mean and standard deviation of the ancestral step; then `ascents` times
        x' <- x' - xi grad_x' ||y - A(D(x0hat(x', t')))||_2,
        x' <- mu + radius s sqrt(d) (x' - mu) / ||x' - mu||,   the sphere on which a Gaussian's mass lies.
    The last step, t' = CLEAN, has s = 0 and returns mu.

    1 + ascents network calls per step (1 in the last), those of the ascents differentiated with respect to their input.

    Args:
        step_size: xi.
        radius: radius of the sphere, in units of s sqrt(d).
        ascents: number of gradient steps.
        clip: whether to clip x0hat to [-1, 1] in the mean; None clips images but not latents.
    """

    def __init__(self, step_size: float = 1.0, radius: float = 1.0, ascents: int = 2, clip: bool | None = None) -> None:
        super().__init__(step_size, clip)
        not_negative(radius=radius, ascents=ascents)
        self.radius, self.ascents = radius, ascents

    def network_calls(self, steps: int) -> int:
        return steps + self.ascents * max(steps - 1, 0)

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        schedule, xi = prior.schedule, self.step_size
        assert xi is not None  # the constructor takes a number
        with torch.no_grad():
            mean, s = self.law(prior.denoise(x, t), t, t_next, prior)
            moved = mean + s * noise.normal(x.shape[1:]).to(x)
        active = torch.nonzero(t_next != CLEAN).flatten()
        if not len(active):
            return moved

        inside, times, here, centre = measurement.rows(active), t_next[active], moved[active], mean[active]
        own = prior.given(inside)
        # One radius per row: where the network has learned s, its root mean square over the pixels.
        length = self.radius * norm_of((s * torch.ones_like(x))[active])
        for _ in range(self.ascents):
            _, gradient, _ = self.guided(here, times, inside, own, noise[active])
            offset = here - xi * schedule.norm(times, here) ** 2 * gradient - centre
            here = centre + length * offset / norm_of(offset).clamp(min=torch.finfo(x.dtype).tiny)
        return moved.index_copy(0, active, here)
