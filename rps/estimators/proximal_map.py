"""The MAP estimate by annealed proximal steps: a cheap stage 1 of low distortion."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.data_step import DataStep
from rps.estimators.pseudo_inverse import PseudoInverse
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.samplers.reverse import clipped
from rps.schedule import Schedule, check_alpha
from rps.settings import at_least_one, not_negative


class ProximalMap(Estimator):
    """x <- argmin_z ||y - A(D(z))||^2 + rho ||z - x0hat||^2,  x0hat = E[x_0 | x_t = alpha x + sigma e],  e ~ N(0, I),
    rho = w_factor noise_std^2 / nu^2,  nu = sigma_t / alpha_t,

    from x = E(A^+ y); D and E are the decoder and encoder of a latent model. At a fixed t the stationary point is that
    of MapEstimator's published objective for w = w_factor w*: since eps - e = alpha (x - x0hat) / sigma, the mean of
    the step's condition over e is A^T (A x - y) + rho (x - E x0hat) = 0. It is cheap, and near the posterior mean:
        - a linear operator on images has the exact step x0hat + V [s / (s^2 + rho)] U^T (y - A x0hat) for
          A = U S V^T; others take a few Adam steps, through a decoder with another weight of the residual
          (`DataStep`);
        - nu falls from `start` to nu_1, evenly in log nu, and stays there;
        - in directions that y measures with less noise than nu, x_t is made of y and not of x;
        - e is the negative of the last one in every second step;
        - the steps at nu_1 are averaged;
        - the last call denoises this average, at the level of the noise of y in it, and takes a last exact step.
    If A^T A = c I, as in denoising, A^+ y is x_t / alpha_t at nu = noise_std / sqrt(c): then one call is the estimate,
    E[x | y] itself.

    One network call per step, never differentiated. Through a decoder, each Adam step differentiates it once.

    Args:
        num_steps: number of network calls, with the last one.
        start: nu at the first step; 0 starts at nu_1, without annealing.
        t1: timestep of nu_1; None is nu_1 = sqrt(.25^2 + noise_std^2 / s^2), where s^2 is the mean square of the
            singular values, or a smaller level at which x has no more noise than y; without the exact step, .14.
        w_factor: factor of w*, the weight of the prior in the exact log-posterior for a broad prior; None is
            max(1, nu_1^2 / data_std^2), because x_0 is within about data_std (`Prior.data_std`) of x0hat even where
            nu_1 is larger.
        tail: fraction of the steps that are at nu_1 and averaged; at least the last one is.
        matched: whether x_t is made of y in the directions that y measures with less noise than nu, and one call is
            enough where A^T A = c I. Needs known singular values (`SpectralOperator`).
        polish: whether the last call denoises the average; without it, it is one more step.
        clip: whether to clip x0hat to [-1, 1]; None clips images but not latents.
        inner_steps: Adam steps where the step has no closed form; None is 4 through a decoder and 20 without.
        lr: rate of the Adam steps, in units of min(nu, 1).
        rcond: smallest singular value, relative to the largest, that the pseudo-inverse keeps.
    """

    def __init__(
        self,
        num_steps: int = 40,
        start: float = 6.0,
        t1: int | None = None,
        w_factor: float | None = None,
        tail: float = 0.5,
        matched: bool = True,
        polish: bool = True,
        clip: bool | None = None,
        inner_steps: int | None = None,
        lr: float = 0.3,
        rcond: float = 0.1,
    ) -> None:
        at_least_one(num_steps=num_steps, inner_steps=inner_steps)
        not_negative(start=start, w_factor=w_factor, tail=tail, lr=lr)
        if tail > 1:
            raise ValueError(f"tail must be between 0 and 1, got {tail}")
        self.num_steps, self.start, self.t1, self.w_factor, self.tail = num_steps, start, t1, w_factor, tail
        self.matched, self.polish, self.clip, self.inner_steps, self.lr = matched, polish, clip, inner_steps, lr
        self.rcond, self.first = rcond, PseudoInverse(rcond)

    def network_calls(self, schedule: Schedule) -> int:
        """Network calls per image; one where A^T A = c I."""
        return self.num_steps

    @torch.no_grad()
    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        """The estimate, not clipped.  -> [N, *sample_shape]."""
        levels = prior.schedule.levels
        if self.t1 is not None and not 0 <= self.t1 < len(levels):
            raise ValueError(f"t1 must be a timestep in 0 .. {len(levels) - 1}, got {self.t1}")
        check_alpha(prior.schedule, [] if self.t1 is None else [self.t1], "ProximalMap")
        x = self.first.estimate(measurement, prior)
        step = self._step(measurement, prior)
        if scale := self._isotropic(step):
            return self._denoised(x, x.new_full((len(x),), measurement.noise_std / scale), prior)
        least, streams = float(levels[0]), measurement.streams.at("stage1")
        nu1 = step.last_level(least) if self.t1 is None else x.new_full((len(x),), float(levels[self.t1]))
        if self.w_factor is None:
            step.w_factor = (nu1 / prior.data_std).square().clamp(min=1)
        steps = self.num_steps - self.polish
        falling = max(steps - max(round(self.tail * steps), 1), 0)
        mean = x if steps == 0 else torch.zeros_like(x)
        for k in range(steps):
            nu = nu1 * (self.start / nu1).clamp(min=1) ** (1 - min(k / max(falling, 1), 1))
            e = streams.at_step(k // 2).normal(x.shape[1:]).to(x) * (-1) ** k
            noisy = step.noisy(x, nu, e) if self.matched else x + nu.view(-1, 1, 1, 1) * e
            x = step(self._denoised(noisy, nu, prior), nu, x)
            if k >= falling:
                mean = mean + x / (steps - falling)
        if not self.polish:
            return mean
        left = step.noise(nu1).clamp(min=least)
        estimate = self._denoised(mean, left, prior)
        return step(estimate, left, x) if step.linear is not None else estimate

    def is_posterior_mean(self, measurement: Measurement, prior: Prior) -> bool:
        """Whether one call denoises A^+ y."""
        return bool(self._isotropic(self._step(measurement, prior)))

    def _step(self, measurement: Measurement, prior: Prior) -> DataStep:
        return DataStep(measurement, prior, 1.0 if self.w_factor is None else self.w_factor, self.inner_steps, self.lr)

    def _isotropic(self, step: DataStep) -> float:
        """sqrt(c) if A^T A = c I and the settings allow the single call, else 0."""
        return step.isotropic() if self.matched and self.t1 is None else 0.0

    def _denoised(self, noisy: Tensor, nu: Tensor, prior: Prior) -> Tensor:
        """E[x_0 | x_0 + nu e = noisy], at the timestep nearest to nu.  nu: [N]."""
        t = prior.schedule.nearest(nu)
        return clipped(prior.denoise(prior.schedule.at(t, noisy)[0] * noisy, t), prior, self.clip).x0
