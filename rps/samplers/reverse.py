"""What the samplers share: from an estimate of the clean image to the next, less noisy time."""

from __future__ import annotations

from torch import Tensor

from rps.priors.base import Denoised
from rps.randomness import Streams
from rps.schedule import Schedule


def reverse_step(
    denoised: Denoised, t: Tensor, t_next: Tensor, schedule: Schedule, noise: Streams, eta: float | Tensor = 1.0
) -> Tensor:
    """x' = alpha' x0 + sqrt(sigma'^2 - (eta s)^2) eps + eta s z, z ~ N(0, I)  (DDIM, arXiv 2010.02502, eq. 12).

    s is the ancestral standard deviation (`Schedule.reverse_std`), learned where `denoised` has a variance_fraction.
    eta = 1 is the ancestral step of DDPM, eta = 0 the deterministic one. t, t_next: [N] -> [N, ...].
    """
    x0, eps, fraction = denoised
    s = eta * schedule.reverse_std(t, t_next, x0, fraction)
    alpha_next, sigma_next = schedule.at(t_next, x0)
    return alpha_next * x0 + (sigma_next**2 - s**2).clamp(min=0).sqrt() * eps + s * noise.normal(x0.shape[1:]).to(x0)


def conditioned(denoised: Denoised, score: Tensor, t: Tensor, schedule: Schedule) -> Denoised:
    """The Denoised of p(x_t | y), given that of p(x_t) and score = grad_x log p(y | x_t) (Tweedie's formula):
    x0 + sigma^2 / alpha score and eps - sigma score.
    """
    alpha, sigma = schedule.at(t, score)
    x0, eps, fraction = denoised
    return Denoised(x0 + sigma**2 / alpha * score, eps - sigma * score, fraction)
