"""Fits a sample to the measurement by gradient descent, for samplers that decouple data and prior."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rps.measurement import Measurement


def fits(residual: Tensor, measurement: Measurement, tolerance: float) -> Tensor:
    """||residual|| <= tolerance noise_std sqrt(m): whether it is at most the noise of the m measurements.  -> [N]."""
    norm = torch.linalg.vector_norm(residual.flatten(1), dim=1)
    return norm <= tolerance * measurement.noise_std * math.sqrt(measurement.y[:1].numel())


def fit(
    start: Tensor,
    measurement: Measurement,
    image: Callable[[Tensor], Tensor],
    steps: int,
    lr: float,
    tolerance: float = 0.0,
    squared: bool = True,
    weight_decay: float = 0.0,
) -> Tensor:
    """argmin_v ||y - A(image(v))||^2 by AdamW, from v = start.  start: [N, ...] -> [N, ...].

    squared: whether to square the norm, which is one per row. A row that `fits` stops; rows are independent. No network
    calls.
    """
    v = start.detach().clone()
    adam = torch.optim.AdamW([v], lr=lr, weight_decay=weight_decay)
    moving = torch.ones(len(v), dtype=torch.bool, device=v.device)
    for step in range(steps):
        with torch.enable_grad():
            at = v.detach().requires_grad_()
            residual = measurement.residual(image(at))
            loss = residual.square() if squared else torch.linalg.vector_norm(residual.flatten(1), dim=1)
            (gradient,) = torch.autograd.grad(loss.sum(), at)
        moving = moving & ~fits(residual.detach(), measurement, tolerance)
        if step % 10 == 0 and not bool(moving.any()):  # rarely, because it waits for the device
            break
        before, v.grad = v.clone(), gradient
        adam.step()
        v.copy_(torch.where(moving.view(-1, *(1,) * (v.ndim - 1)), v, before))
    return v
