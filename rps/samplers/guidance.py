"""Gradients of the misfit between an image and the measurement."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior

Guided = tuple[Denoised, Tensor, Tensor]
"""(the Denoised of x_t, grad_x of a loss [N, ...], the loss [N]), all detached."""


def through_denoiser(x: Tensor, t: Tensor, prior: Prior, loss: Callable[[Tensor], Tensor]) -> Guided:
    """The Denoised of x_t, grad_x loss(x0hat(x)) and the loss.

    x: [N, ...], t: [N]. loss: x0hat [N, ...] -> one number per row [N]; rows must not mix.
    One network call, differentiated with respect to its input.
    """
    return through_prior(x, t, prior, lambda x, denoised: loss(denoised.x0))


def through_prior(x: Tensor, t: Tensor, prior: Prior, loss: Callable[[Tensor, Denoised], Tensor]) -> Guided:
    """`through_denoiser` for a loss of x_t and its whole Denoised."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        denoised = prior.denoise(x, t)
        losses = loss(x, denoised)
        (gradient,) = torch.autograd.grad(losses.sum(), x)
    fraction = denoised.variance_fraction
    return (
        Denoised(denoised.x0.detach(), denoised.eps.detach(), None if fraction is None else fraction.detach()),
        gradient,
        losses.detach(),
    )


def image_of(x0: Tensor, prior: Prior, clip: bool = False) -> Tensor:
    """D(x0), optionally clipped to [-1, 1]."""
    image = prior.decode(x0)
    return image.clamp(-1, 1) if clip else image


def data_gradient(
    x: Tensor, measurement: Measurement, prior: Prior, squared: bool = True, clip: bool = False
) -> Tensor:
    """grad_x ||y - A(D(x))||^2 per image, or of the norm itself if not `squared`; through the decoder and the operator,
    not the network."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        residual = measurement.residual(image_of(x, prior, clip))
        loss = residual.square() if squared else torch.linalg.vector_norm(residual.flatten(1), dim=1)
        return torch.autograd.grad(loss.sum(), x)[0]
