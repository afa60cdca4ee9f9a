"""The proximal step of the data term: the sample near a given one that agrees with the measurement."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.operators.base import LinearOperator, SpectralOperator
from rps.priors.base import Prior
from rps.samplers.guidance import data_gradient
from rps.samplers.linear import guidance, spectral

LINEAR_LEVEL, OTHER_LEVEL = 0.25, 0.14
"""The least nu_1 of a linear operator on images in [-1, 1], and nu_1 of others: chosen once, for all tasks."""


class DataStep:
    """z = argmin_z ||y - A(D(z))||^2 + rho ||z - x0hat||^2,  rho = w_factor noise_std^2 / nu^2, for each row.

    A linear A on images has the closed form x0hat + V [s / (s^2 + rho)] U^T (y - A x0hat) for A = U S V^T. Otherwise
    z = x0hat + c d, c = min(nu, 1), where d takes Adam steps, differentiated through A and the decoder D but not the
    network. They start from x0hat; for a nonlinear A on images and nu < 3 from the last z, because the gradient of
    a saturated pixel is 0.

    For a decoder and known singular values the image may differ from D(z) by r = nu / 2. Then y has the covariance
    C = noise_std^2 I + r^2 A A^T, and z = argmin_z (y - A D(z))^T C^-1 (y - A D(z)) + w_factor ||z - x0hat||^2 / nu^2.
    Directions of large s count less, so that few Adam steps also move those of small s (docs/ablations.md).

    w_factor: a number, or one per row. inner_steps: number of Adam steps; None is 4 through a decoder and 20 without.
    lr: their rate.
    """

    def __init__(
        self, measurement: Measurement, prior: Prior, w_factor: float, inner_steps: int | None, lr: float
    ) -> None:
        self.measurement, self.prior, self.lr = measurement, prior, lr
        self.w_factor: float | Tensor = w_factor
        self.inner_steps = inner_steps or (4 if prior.latent else 20)
        operator = measurement.operator
        self.linear = operator if isinstance(operator, LinearOperator) and not prior.latent else None

    def __call__(self, x0hat: Tensor, nu: Tensor, last: Tensor) -> Tensor:
        """z.  x0hat, last z: [N, *sample_shape], nu: [N]."""
        rho = self._rho(nu, x0hat)
        if self.linear is not None:
            residual = self.measurement.residual(x0hat)
            return x0hat + spectral(self.linear, residual, lambda s: s / (s**2 + rho))
        c, warm = nu.clamp(max=1).view(rho.shape), (nu < 3).view(rho.shape) & (not self.prior.latent)
        d = torch.where(warm, (last - x0hat) / c, 0.0)
        adam = torch.optim.Adam([d], lr=self.lr)
        gradient, weight = self._gradient(nu, rho)
        for _ in range(self.inner_steps):
            d.grad = c * gradient(x0hat + c * d) + 2 * weight * c**2 * d
            adam.step()
        return x0hat + c * d

    def _gradient(self, nu: Tensor, rho: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """z -> the gradient of the data term, and the weight of ||z - x0hat||^2 beside it."""
        measurement, prior, operator = self.measurement, self.prior, self.measurement.operator
        if not (prior.latent and isinstance(operator, SpectralOperator)):
            return lambda z: data_gradient(z, measurement, prior), rho
        weight = self._weight(nu, rho)

        def gradient(z: Tensor) -> Tensor:
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                image = prior.decode(z)
                residual = measurement.residual(image.detach())
                toward = guidance(operator, residual, (nu / 2).square().view(rho.shape), measurement.noise_std)
                return torch.autograd.grad(image, z, -2 * toward)[0]

        return gradient, weight

    def noisy(self, x: Tensor, nu: Tensor, e: Tensor) -> Tensor:
        """x + nu e, except in the directions that y measures with less noise than nu: noise_std / s <= nu. They have y
        itself, with fresh noise that brings it to nu: y_s / s + sqrt(nu^2 - noise_std^2 / s^2) e_s, as in DDRM (arXiv
        2201.11793). Without known singular values, x + nu e.  x, e: [N, C, H, W], nu: [N]."""
        nu = nu.view(-1, *(1,) * (x.ndim - 1))
        if not isinstance(self.linear, SpectralOperator):
            return x + nu * e
        std = self.measurement.noise_std

        def inverse(s: Tensor) -> Tensor:
            return torch.where(std <= nu * s, 1 / s, 0.0)

        def less(s: Tensor) -> Tensor:
            return torch.where(std <= nu * s, ((1 - (std / (nu * s)) ** 2).clamp(min=0).sqrt() - 1) / s, 0.0)

        residual = self.measurement.residual(x)
        return x + nu * e + spectral(self.linear, residual, inverse) + nu * spectral(self.linear, self.linear(e), less)

    def isotropic(self) -> float:
        """sqrt(c) if A^T A = c I, else 0.  Not tried for operators with random parameters."""
        if self.linear is None or self.linear.per_sample or not len(self.measurement):
            return 0.0
        shape = self.measurement.image_shape
        probe = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(self.measurement.y)
        image = self.linear.adjoint(self.linear(probe))
        c = float((image * probe).sum() / probe.square().sum())
        return math.sqrt(c) if c > 0 and float((image - c * probe).norm()) < 1e-4 * float(image.norm()) else 0.0

    def noise(self, nu: Tensor) -> Tensor:
        """The standard deviation per pixel of the noise of y in z: that of V [s / (s^2 + rho)] U^T n, from one draw
        n ~ N(0, noise_std^2 I); nu / 4 if there is no closed form.  nu: [N] -> [N]."""
        return nu / 4 if self.linear is None else self.measurement.noise_std * self._amplification(nu)

    def last_level(self, smallest: float) -> Tensor:
        """nu = sqrt(.25^2 + noise_std^2 / s^2), or smaller by powers of sqrt(2) until z has no more noise than y, but
        not below `smallest`; s^2 is the mean square of A's singular values, from one draw. nu = .14 if there is no
        closed form.  -> [N]."""
        if self.linear is None:
            return self.measurement.y.new_full((len(self.measurement),), OTHER_LEVEL)
        probe = self._probe(self.measurement.image_shape)
        power = self.linear(probe).flatten(1).square().mean(1)
        nu = (LINEAR_LEVEL**2 + self.measurement.noise_std**2 / power.clamp(min=1e-12)).sqrt()
        while bool((loud := (self._amplification(nu) > 1) & (nu > smallest)).any()):
            nu = torch.where(loud, nu / math.sqrt(2), nu)
        return nu

    def _rho(self, nu: Tensor, like: Tensor) -> Tensor:
        return self.measurement.noise_std**2 * self._weight(nu, like)

    def _weight(self, nu: Tensor, like: Tensor) -> Tensor:
        return (self.w_factor / nu**2).view(-1, *(1,) * (like.ndim - 1))

    def _amplification(self, nu: Tensor) -> Tensor:
        """The root mean square of V [s / (s^2 + rho)] U^T n, n ~ N(0, I).  -> [N]."""
        assert self.linear is not None
        n = self._probe(self.measurement.y.shape[1:])
        rho = self._rho(nu, n.new_empty(1, 1, 1, 1))
        return spectral(self.linear, n, lambda s: s / (s**2 + rho)).flatten(1).square().mean(1).sqrt()

    def _probe(self, shape: tuple[int, ...]) -> Tensor:
        return self.measurement.streams.at("probe").normal(shape).to(self.measurement.y)
