"""The MAP estimate by stochastic score ascent: stage 1 of MAP-RPS (arXiv 2605.28711)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rps.estimators.base import Estimator
from rps.estimators.pseudo_inverse import PseudoInverse
from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.samplers.guidance import data_gradient
from rps.schedule import Schedule
from rps.settings import not_negative

PriorTerm = Literal["published", "centred", "control_variate"]
DataTerm = Literal["squared", "stable"]


class MapEstimator(Estimator):
    """x_MAP = argmin_x ||y - A(D(x))||^2 + w <g, x>, where g is an unbiased draw of the prior's gradient at time t1.

    D is the decoder of a latent model (LMAP) and the identity for a pixel model. Each iteration draws e ~ N(0, I),
    forms x_t1 = alpha x + sigma e and takes one AdamW step with a cosine learning rate. One network call per draw,
    never differentiated. All prior terms have the same expectation:
        published:        g = eps_theta(x_t1, t1)
        centred:          g = eps_theta(x_t1, t1) - e    less variance if the prior is narrower than the noise
        control_variate:  g = eps_theta(x_t1, t1) - c e  c = <eps, e> / <e, e> over the image's earlier draws

    Args:
        num_steps: number N of iterations.
        lr: initial learning rate of AdamW.
        t1: timestep at which the score is taken; None is the prior's `map_timestep` (in the paper 10 in pixel space and
            50 in latent space).
        w: weight of the prior term; None is w_factor * w*, where w* = 2 noise_std^2 alpha / sigma at t1 is the weight
            of the exact log-posterior for a broad prior.
        w_factor: factor of w*, used if w is None.
        prior_term: "published", "centred" or "control_variate", see above.
        draws: number of independent draws of g averaged in each iteration.
        eta_min: final learning rate.
        weight_decay: weight decay of AdamW.
        rcond: smallest singular value, relative to the largest, that the pseudo-inverse keeps; the iteration starts at
            x = E(A^+ y).
        data_term: "squared", or "stable" for the norm itself, published for nonlinear operators and compressed sensing
            with Stable Diffusion. "stable" divides w* by 2 noise_std sqrt(m), m the number of measurements, so that
            both forms agree where the residual equals the noise.
        clip_image: whether to clip D(x) to [-1, 1] in the data term.
    """

    def __init__(
        self,
        num_steps: int = 100,
        lr: float = 0.1,
        t1: int | None = None,
        w: float | None = None,
        w_factor: float = 1.0,
        prior_term: PriorTerm = "centred",
        draws: int = 1,
        eta_min: float = 1e-5,
        weight_decay: float = 0.01,
        rcond: float = 0.1,
        data_term: DataTerm = "squared",
        clip_image: bool = False,
    ) -> None:
        if num_steps < 0 or draws < 1:
            raise ValueError(f"num_steps must be >= 0 and draws >= 1, got {num_steps} and {draws}")
        not_negative(lr=lr, w=w, w_factor=w_factor, eta_min=eta_min, weight_decay=weight_decay)
        if prior_term not in ("published", "centred", "control_variate"):
            raise ValueError(f"prior_term must be published, centred or control_variate, got {prior_term!r}")
        if data_term not in ("squared", "stable"):
            raise ValueError(f"data_term must be squared or stable, got {data_term!r}")
        self.num_steps, self.lr, self.t1, self.w, self.w_factor = num_steps, lr, t1, w, w_factor
        self.prior_term, self.draws, self.eta_min, self.weight_decay = prior_term, draws, eta_min, weight_decay
        self.data_term, self.clip_image, self.rcond = data_term, clip_image, rcond
        self.squared, self.start = data_term == "squared", PseudoInverse(rcond)

    def network_calls(self, schedule: Schedule) -> int:
        return self.num_steps * self.draws

    def weight(self, noise_std: float, prior: Prior, measurements: int = 1) -> float:
        """w if given, else w_factor * 2 noise_std^2 alpha_t1 / sigma_t1.  measurements: m, for the stable form."""
        if self.w is not None:
            return self.w
        schedule, t1 = prior.schedule, self.timestep(prior)
        scale = 2 * noise_std**2 if self.squared else noise_std / max(measurements, 1) ** 0.5
        return self.w_factor * scale * schedule.alpha(t1) / schedule.sigma(t1)

    def timestep(self, prior: Prior) -> int:
        """t1 if given, else the prior's map_timestep.  Errors: ValueError if the prior has no such timestep."""
        t1 = prior.map_timestep if self.t1 is None else self.t1
        if not 0 <= t1 < len(prior.schedule):
            raise ValueError(f"t1 must be a timestep in 0 .. {len(prior.schedule) - 1}, got {t1}")
        return t1

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        """x_MAP, not clipped.  -> [N, *sample_shape]."""
        t1 = self.timestep(prior)
        x = self.start.estimate(measurement, prior).clone()
        weight = self.weight(measurement.noise_std, prior, measurement.y[:1].numel())
        gradient = PriorGradient(self.prior_term, t1, self.draws, measurement, prior)
        optimizer = torch.optim.AdamW([x], lr=self.lr, weight_decay=self.weight_decay)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.num_steps, 1), self.eta_min)
        for step in range(self.num_steps):
            data = data_gradient(x, measurement, prior, self.squared, self.clip_image)
            x.grad = data.add_(gradient(x, step), alpha=weight)
            optimizer.step()
            cosine.step()
        return x.detach()


class PriorGradient:
    """g(x, step): draws the prior term and, for the control variate, keeps the statistics of earlier draws."""

    def __init__(self, term: PriorTerm, t1: int, draws: int, measurement: Measurement, prior: Prior) -> None:
        self.term, self.draws, self.prior = term, draws, prior
        self.streams = measurement.streams.at("stage1")
        self.t = torch.full((len(measurement),), t1, dtype=torch.int64, device=measurement.y.device)
        # c = <eps, e> / <e, e> over the draws so far, starting as after one draw with eps = e (c = 1).
        self.eps_e = self.e_e = torch.ones(())

    @torch.no_grad()
    def __call__(self, x: Tensor, step: int) -> Tensor:
        total = torch.zeros_like(x)
        for draw in range(self.draws):
            e = self.streams.at_step(step * self.draws + draw).normal(x.shape[1:]).to(x.dtype)
            eps = self.prior.denoise(self.prior.schedule.add_noise(x, e, self.t), self.t).eps
            total += eps
            if self.term == "centred":
                total -= e
            elif self.term == "control_variate":
                total -= self.eps_e.to(x) / self.e_e.to(x) * e
                self.eps_e = self.eps_e.to(x) + (eps * e).flatten(1).mean(1).view(-1, *(1,) * (x.ndim - 1))
                self.e_e = self.e_e.to(x) + (e * e).flatten(1).mean(1).view(-1, *(1,) * (x.ndim - 1))
        return total / self.draws
