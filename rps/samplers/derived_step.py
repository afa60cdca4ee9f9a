"""The step size of guided samplers that follows from the schedule, the noise and the residual."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.schedule import Schedule

LARGEST_SHARE = 0.25
"""The largest share of a residual that one step removes, to first order."""
LEAST_NOISE = 0.01
"""The least noise_std, in [-1, 1] units, for which settings are derived: without noise they would not be finite."""


def derived_step(
    gradient: Tensor,
    loss: Tensor,
    power: int,
    t: Tensor,
    t_next: Tensor,
    measurement: Measurement,
    schedule: Schedule,
    factor: float = 1.0,
) -> Tensor:
    """k of x' = (the step of the prior) - k grad_x ||r||^power, r = y - A(D(x0hat(x))), power 1 or 2.

    If p(y | x_t) = N(A(D(x0hat)), v I), then p(x_t' | x_t, y) has the mean of the prior's ancestral step plus
        (alpha'/alpha) (sigma^2 - (alpha/alpha')^2 sigma'^2) grad_x log p(y | x_t)
    (Tweedie). v holds the noise and what is still unknown of x_0; its estimate is the mean square of r over the m
    measurements, and at least noise_std^2. Where the singular values of A differ, this can overshoot along the largest
    ones, so one step lowers ||r|| by at most LARGEST_SHARE, to first order.

    gradient: [N, ...], of the loss [N]. t, t_next: [N]. factor: of log p(y | x_t). -> [N, 1, ...], 0 where alpha = 0,
    since x_t says nothing about x_0 there.
    """
    shape, like = (-1, *(1,) * (gradient.ndim - 1)), gradient[:0].double()
    (alpha, sigma), (alpha_next, sigma_next) = schedule.at(t, like), schedule.at(t_next, like)
    tiny = torch.finfo(torch.float32).tiny
    norm = loss.double().clamp(min=tiny).view(shape) ** (1 / power)
    v = (norm**2 / measurement.y.shape[1:].numel()).clamp(min=measurement.noise_std**2)
    # d ||r||^2 / (2 v) = ||r||^(2 - power) / (power v) d ||r||^power
    added = sigma**2 - (alpha / alpha_next * sigma_next) ** 2
    k = factor * alpha_next / alpha.clamp(min=tiny) * added * norm ** (2 - power) / (power * v)
    slope = torch.linalg.vector_norm(gradient.flatten(1), dim=1).double().clamp(min=tiny).view(shape)
    longest = LARGEST_SHARE * power * norm**power / slope**2 * schedule.norm(t_next, like) / schedule.norm(t, like)
    return torch.where(alpha > 0, torch.minimum(k, longest), 0.0).to(gradient.dtype)
