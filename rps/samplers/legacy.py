"""Reproduces errors of the published stage-2 code, for comparison with published numbers only."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.priors.base import Denoised
from rps.schedule import CLEAN, Schedule


def legacy_std(denoised: Denoised, t: Tensor, t_next: Tensor, schedule: Schedule) -> Tensor:
    """Standard deviation of the learned noise in the runs of arXiv 2605.28711, which has two errors:

    - the network's output v in [-1, 1] gives the fraction (exp(v) + 1) / 2 instead of (v + 1) / 2;
    - the last step also adds noise: sigma_t^(f) s^(1 - f), where s is the ancestral standard deviation from t + 1
      to t of the whole grid.

    denoised: from a network with learned variance. t, t_next: [N] -> [N, ...].
    """
    assert denoised.variance_fraction is not None
    fraction = ((2 * denoised.variance_fraction - 1).exp() + 1) / 2
    std = schedule.reverse_std(t, t_next, denoised.x0, fraction)
    above = (t + 1).clamp(max=len(schedule) - 1)
    small, sigma = schedule.reverse_std(above, t, denoised.x0), schedule.at(t, denoised.x0)[1]
    last = (t_next == CLEAN).view(-1, *(1,) * (denoised.x0.ndim - 1))
    return torch.where(last, sigma**fraction * small ** (1 - fraction), std)
