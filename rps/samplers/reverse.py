"""The reverse step shared by the samplers: from an estimate of the clean image to the next, less noisy time."""

from __future__ import annotations

from torch import Tensor

from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.schedule import Schedule


def reverse_step(
    denoised: Denoised, t: Tensor, t_next: Tensor, schedule: Schedule, noise: Streams, eta: float | Tensor = 1.0
) -> Tensor:
    """A draw of `reverse_law`.  t, t_next: [N] -> [N, ...]."""
    mean, std = reverse_law(denoised, t, t_next, schedule, eta)
    return mean + std * noise.normal(mean.shape[1:]).to(mean)


def reverse_law(
    denoised: Denoised, t: Tensor, t_next: Tensor, schedule: Schedule, eta: float | Tensor = 1.0
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the reverse step from t to t' (DDIM, arXiv 2010.02502, eq. 12):

        x' = alpha' x0 + sqrt(sigma'^2 - (eta s)^2) eps + eta s_theta z,  z ~ N(0, I).

    s is the ancestral standard deviation, the "fixed small" one (`Schedule.reverse_std`). If `denoised` has a
    variance_fraction, the noise has the learned s_theta, but the mean keeps s. eta = 1 is the ancestral step of DDPM,
    eta = 0 the deterministic step. t, t_next: [N] -> two tensors that broadcast to [N, ...].
    """
    x0, eps, fraction = denoised
    small = schedule.reverse_std(t, t_next, x0)
    std = small if fraction is None else schedule.reverse_std(t, t_next, x0, fraction)
    alpha_next, sigma_next = schedule.at(t_next, x0)
    return alpha_next * x0 + (sigma_next**2 - (eta * small) ** 2).clamp(min=0).sqrt() * eps, eta * std


def clipped(denoised: Denoised, prior: Prior, clip: bool | None) -> Denoised:
    """The Denoised with x0 clipped to [-1, 1].  clip: None clips images but not latents, which are unbounded."""
    wanted = not prior.latent if clip is None else clip
    return denoised._replace(x0=denoised.x0.clamp(-1, 1)) if wanted else denoised


def condition(denoised: Denoised, score: Tensor, t: Tensor, schedule: Schedule) -> Denoised:
    """The Denoised of p(x_t | y), given that of p(x_t) and score = grad_x log p(y | x_t) (Tweedie's formula):
    x0 + sigma^2 / alpha score and eps - sigma score.
    """
    alpha, sigma = schedule.at(t, score)
    x0, eps, fraction = denoised
    return Denoised(x0 + sigma**2 / alpha * score, eps - sigma * score, fraction)
