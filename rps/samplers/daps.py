"""Decoupled annealing posterior sampling, DAPS (arXiv 2407.01521)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.derived_step import LEAST_NOISE
from rps.samplers.guidance import data_gradient, largest_curvature
from rps.schedule import Schedule
from rps.settings import not_negative


class Daps(Sampler):
    """x0hat by the probability flow from x_t to t = 0; then Langevin steps from there on
        U(x) = ||x - x0hat||^2 / (2 r^2) + ||y - A(x)||^2 / (2 tau^2),  r = r_factor sigma_t / alpha_t,
        x <- x - h grad U(x) + sqrt(2 h) z;
    then x' = alpha' x + sigma' z. With momentum m the steps are damped Hamiltonian steps, with v ~ N(0, I) at first:
        v <- m v - sqrt(h) grad U(x) + sqrt(2 (1 - m)) z,  x <- x + sqrt(h) v.
    Works with any operator; gradients go through it and the decoder, not through the network.

    `ode_steps` network calls per step. Both time grids are polynomial in sigma/alpha (power 1/7) and rounded to the
    schedule's timesteps: the outer one from sigma_max to sigma_min, the inner one from t down to ode_min.

    Args:
        ode_steps: Euler steps of the flow.
        langevin_steps: Langevin steps of the correction.
        step_size: h at the start; published 1e-4 for SR, blur and random inpainting, 5e-5 for box, motion and phase,
            2e-5 for HDR, 1e-5 for nonlinear blur. Stable below 2 / (c^2 / tau^2 + 1 / r^2), c the largest singular
            value of A; None is an eighth of that bound at every time, with c estimated at x0hat.
        step_decay: h at sigma_min as a fraction of a given step_size, with linear interpolation along the outer grid.
        tau: standard deviation of the measurement noise assumed by the correction; None is that of the measurement, and
            at least .01. Published .01 for any noise, in code that has ||y - A(x)||^2 / tau^2, which is .01 / sqrt(2)
            in this equation.
        sigma_max: start of the outer grid, in units of sigma/alpha.
        sigma_min: end of the outer grid, in units of sigma/alpha.
        ode_min: end of the inner grid, in units of sigma/alpha.
        momentum: m; 0 is Langevin.
        r_factor: r in units of sigma/alpha, the standard deviation of x_0 given x_t for a flat prior. None is the
            published 1 with a given step_size, whose steps are too short to reach that spread, and .3 without.
    """

    default_steps = 200
    power = 1 / 7

    def __init__(
        self,
        ode_steps: int = 5,
        langevin_steps: int = 100,
        step_size: float | None = None,
        step_decay: float = 0.01,
        tau: float | None = None,
        sigma_max: float = 100.0,
        sigma_min: float = 0.1,
        ode_min: float = 0.01,
        momentum: float = 0.0,
        r_factor: float | None = None,
    ) -> None:
        if ode_steps < 1 or langevin_steps < 0:
            raise ValueError(f"ode_steps must be >= 1 and langevin_steps >= 0, got {ode_steps} and {langevin_steps}")
        not_negative(step_size=step_size, step_decay=step_decay, tau=tau, sigma_max=sigma_max, ode_min=ode_min)
        not_negative(sigma_min=sigma_min, momentum=momentum, r_factor=r_factor)
        if 0 in (tau, r_factor) or not 0 < sigma_min < sigma_max:
            raise ValueError(
                "tau and r_factor must be > 0 and 0 < sigma_min < sigma_max, "
                f"got {tau}, {r_factor}, {sigma_min} and {sigma_max}"
            )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be >= 0 and < 1, got {momentum}")
        self.momentum, self.r_factor = momentum, r_factor
        self.ode_steps, self.langevin_steps, self.step_size, self.step_decay = (
            ode_steps, langevin_steps, step_size, step_decay,
        )  # fmt: skip
        self.tau, self.sigma_max, self.sigma_min, self.ode_min = tau, sigma_max, sigma_min, ode_min

    def network_calls(self, steps: int) -> int:
        return self.ode_steps * steps

    def timesteps(self, schedule: Schedule, t0: int, steps: int | None = None) -> list[int]:
        """The timesteps of `steps` (None is 200) levels from sigma_max to sigma_min, without repeats; for t0 < T those
        below t0 - 1, after t0 - 1 itself."""
        schedule.grid(t0, steps)  # raises errors
        ends = torch.tensor([self.sigma_max, self.sigma_min], dtype=torch.float64) ** self.power
        part = torch.linspace(0, 1, steps or self.default_steps, dtype=torch.float64)
        levels = ((1 - part) * ends[0] + part * ends[1]) ** (1 / self.power)
        grid = sorted(set(schedule.nearest(levels).tolist()), reverse=True)
        return grid if t0 == len(schedule) else [t for t in [t0 - 1, *(t for t in grid if t < t0 - 1)] if t >= 0]

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        schedule, shape = prior.schedule, x.shape[1:]
        x0hat = self._flow(x, t, prior)
        alpha, sigma = schedule.at(t, x)
        tau = max(measurement.noise_std, LEAST_NOISE) if self.tau is None else self.tau
        if self.step_size is None:
            r = sigma / alpha * (self.r_factor or 0.3)
            h = 0.25 / (largest_curvature(x0hat, measurement, prior) / tau**2 + 1 / r**2)
        else:
            r = sigma / alpha * (self.r_factor or 1.0)
            level, top, bottom = ((v**self.power) for v in (sigma / alpha, self.sigma_max, self.sigma_min))
            progress = ((top - level) / (top - bottom)).clamp(0, 1)
            h = self.step_size * (1 + progress * (self.step_decay - 1))
        x0, draws, m = x0hat, noise.at("langevin"), self.momentum
        v = noise.at("velocity").normal(shape).to(x) if m else torch.zeros_like(x)
        for k in range(self.langevin_steps):
            slope = (x0 - x0hat) / r**2 + data_gradient(x0, measurement, prior) / (2 * tau**2)
            v = m * v - h.sqrt() * slope + math.sqrt(2 * (1 - m)) * draws.at_step(k).normal(shape).to(x)
            x0 = x0 + h.sqrt() * v
        return schedule.add_noise(x0, noise.at("renoise").normal(shape).to(x), t_next)

    def _flow(self, x: Tensor, t: Tensor, prior: Prior) -> Tensor:
        """x0hat after `ode_steps` Euler steps; if fewer timesteps are left, some steps have length zero."""
        table = prior.schedule
        top = ((table.sigma_table[t] / table.alpha_table[t]) ** self.power).clamp(min=self.ode_min**self.power)
        here = t
        for k in range(1, self.ode_steps + 1):
            denoised = prior.denoise(x, here)
            if k < self.ode_steps:
                part = k / (self.ode_steps - 1)
                level = ((1 - part) * top + part * self.ode_min**self.power) ** (1 / self.power)
                here = torch.minimum(table.nearest(level), here)
                x = table.add_noise(denoised.x0, denoised.eps, here)
        return denoised.x0
