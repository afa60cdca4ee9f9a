"""The null-space sampler for noisy measurements, DDNM+ (arXiv 2212.00490), which is DDNM without noise."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.linear import linear_operator, spectral
from rps.samplers.reverse import clipped
from rps.settings import is_number


class Ddnm(Sampler):
    """x' = alpha' (x0hat + L A^+ (y - A x0hat)) + noise of total standard deviation sigma' in every direction.

    In the direction of a singular value c of A (c = 0: the null space), with m = alpha' sigma_y / c the noise of y
    propagated to t', and the DDIM noise n = sqrt(1 - eta^2) eps + eta z:
        c = 0        L = 0                             noise sigma' n
        m <= sigma'  L = 1                             noise sqrt(sigma'^2 - m^2) z in addition to that of y
        m > sigma'   L = sqrt(1 - eta^2) sigma' / m    noise eta sigma' z; the noise of y replaces eps
    With sigma_y = 0 this is DDNM, whose noise is sigma' n in every direction. One network call per step, not
    differentiated. Needs a linear operator.

    Args:
        eta: share of fresh noise in each step, in [0, 1].
        clip: whether to clip x0hat to [-1, 1], as the runs of arXiv 2605.28711 do and the original does not.
    """

    default_steps = 100

    def __init__(self, eta: float = 0.85, clip: bool = False) -> None:
        if not (is_number(eta) and 0 <= eta <= 1):
            raise ValueError(f"eta must be between 0 and 1, got {eta!r}")
        self.eta, self.clip = eta, clip

    def reliable(self, m: Tensor, sigma_next: Tensor) -> tuple[Tensor | float, Tensor | float, Tensor | float]:
        """(L, coefficient of z, coefficient of eps) for m <= sigma'."""
        room = (sigma_next**2 - m**2).clamp(min=0).sqrt()
        exact = (m == 0).to(m)  # sigma_y = 0
        return 1.0, (1 - exact + exact * self.eta) * room, exact * (1 - self.eta**2) ** 0.5 * room

    def check(self, measurement: Measurement, prior: Prior) -> None:
        linear_operator(measurement, prior, self)

    @torch.no_grad()
    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        operator = linear_operator(measurement, prior, self)
        alpha_next, sigma_next = prior.schedule.at(t_next, x)
        x0, eps, _ = clipped(prior.denoise(x, t), prior, self.clip)
        z = noise.normal(x.shape[1:]).to(x)
        keep = (1 - self.eta**2) ** 0.5

        def coefficients(c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            m = alpha_next * measurement.noise_std / c
            reliable, masked = m <= sigma_next, torch.where(m > sigma_next, m, 1.0)
            unreliable = (keep * sigma_next / masked, self.eta * sigma_next, torch.zeros_like(m))
            share, fresh, kept = (
                torch.where(reliable, torch.as_tensor(a).to(m), b)
                for a, b in zip(self.reliable(m, sigma_next), unreliable, strict=True)
            )
            return share, fresh, kept

        # V f(S) V^T n = spectral(A n, f(c) / c), which is zero in the null space.
        return (
            alpha_next * (x0 + spectral(operator, measurement.residual(x0), lambda c: coefficients(c)[0] / c))
            + self.eta * sigma_next * z
            + spectral(operator, operator(z), lambda c: (coefficients(c)[1] - self.eta * sigma_next) / c)
            + keep * sigma_next * eps
            + spectral(operator, operator(eps), lambda c: (coefficients(c)[2] - keep * sigma_next) / c)
        )
