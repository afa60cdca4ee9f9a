"""Gradients of how well an image explains the measurement."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior


def through_denoiser(x: Tensor, t: Tensor, prior: Prior, loss: Callable[[Tensor], Tensor]) -> tuple[Denoised, Tensor]:
    """(what the prior says of x_t, grad_x loss(x0hat(x))), neither with a graph behind it.

    x: [N, ...], t: [N]. loss: x0hat [N, ...] -> one number per row [N]; rows do not mix, so neither do gradients.
    One network call, differentiated with respect to its input.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        denoised = prior.denoise(x, t)
        (gradient,) = torch.autograd.grad(loss(denoised.x0).sum(), x)
    fraction = denoised.variance_fraction
    return (
        Denoised(denoised.x0.detach(), denoised.eps.detach(), None if fraction is None else fraction.detach()),
        gradient,
    )


def data_gradient(x: Tensor, measurement: Measurement, prior: Prior) -> Tensor:
    """grad_x ||y - A(D(x))||^2 per image; back through the decoder and the operator, not through the network."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        loss = measurement.residual(prior.decode(x)).square().sum()
        return torch.autograd.grad(loss, x)[0]
