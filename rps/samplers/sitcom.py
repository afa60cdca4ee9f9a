"""Step-wise triple-consistent sampling, SITCOM (arXiv 2410.04479)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.fitting import fits
from rps.samplers.guidance import through_prior
from rps.samplers.reverse import clipped
from rps.settings import not_negative


class Sitcom(Sampler):
    """v = argmin_v ||y - A(x0hat(v))||^2 + lam ||v - x_t||^2 by Adam on the network's input, from v = x_t;
    x' = alpha' x0hat(v) + sigma' z.

    inner_steps + 1 network calls per step, all but the last differentiated with respect to their input. Works with any
    operator.

    The 20 steps, K and lr are those of the authors' code (github.com/sjames40/SITCOM), which stops a row at
    (noise_std + .001) sqrt(m) and has lam = 0 in the version for noisy y; its ablation tries lam of .05 to 1.5. It
    clips x0hat to [-1, 1], in the loss and in x'.

    Args:
        inner_steps: number K of Adam steps.
        lr: learning rate of Adam.
        lam: weight of the distance to x_t.
        tolerance: a row stops once ||y - A(x0hat)|| is at most tolerance * noise_std * sqrt(m), m the number of
            measurements; 0 takes all K steps.
        clip: whether to clip x0hat to [-1, 1]; None clips images but not latents.
    """

    default_steps = 20

    def __init__(
        self,
        inner_steps: int = 30,
        lr: float = 0.02,
        lam: float = 1.0,
        tolerance: float = 1.0,
        clip: bool | None = None,
    ) -> None:
        not_negative(inner_steps=inner_steps, lr=lr, lam=lam, tolerance=tolerance)
        self.inner_steps, self.lr, self.lam, self.tolerance, self.clip = inner_steps, lr, lam, tolerance, clip

    def network_calls(self, steps: int) -> int:
        return (self.inner_steps + 1) * steps

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        def clean(denoised: Denoised) -> Tensor:
            return clipped(denoised, prior, self.clip).x0

        norm = prior.schedule.norm(t, x)
        v = x.detach() / norm  # lr and lam are for the variance-preserving form
        start = v.clone()
        adam = torch.optim.Adam([v], lr=self.lr)
        for _ in range(self.inner_steps):
            denoised, gradient, _ = through_prior(
                v * norm, t, prior, lambda _, d: measurement.residual_norm(prior.decode(clean(d))).square()
            )
            with torch.no_grad():
                moves = ~fits(measurement.residual(prior.decode(clean(denoised))), measurement, self.tolerance)
                before = v.clone()
                v.grad = norm * gradient + 2 * self.lam * (v - start)
                adam.step()
                v.copy_(torch.where(moves.view(-1, *(1,) * (x.ndim - 1)), v, before))
        with torch.no_grad():
            x0 = clean(prior.denoise(v * norm, t))
            return prior.schedule.add_noise(x0, noise.normal(x.shape[1:]).to(x), t_next)
