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


def largest_curvature(x: Tensor, measurement: Measurement, prior: Prior, iterations: int = 3) -> Tensor:
    """The largest eigenvalue of J^T J, J the Jacobian of A(D(x)), from below, by power iteration from one fixed draw:
    that of A^T A for a linear A on images.  x: [N, ...] -> [N, 1, ...].

    Each iteration takes one call of the operator and the decoder and one backward, none of the network.
    """
    v = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x).expand_as(x)
    length = x[:1].numel() ** 0.5 / 10  # of the difference that stands for a derivative: .1 a pixel
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = measurement.operator(prior.decode(x))
        for _ in range(iterations):
            v = v / norm_of(v).clamp(min=torch.finfo(v.dtype).tiny)
            with torch.no_grad():
                change = (measurement.operator(prior.decode(x + length * v)) - y) / length
            (v,) = torch.autograd.grad(y, x, change, retain_graph=True)
    return norm_of(v)


def norm_of(x: Tensor) -> Tensor:
    """The norm of each row.  x: [N, ...] -> [N, 1, ...]."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1).view(-1, *(1,) * (x.ndim - 1))
