"""Latent-diffusion image restoration, LDIR, which guides the next latent."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.derived_step import derived_step
from rps.samplers.guidance import image_of, through_prior
from rps.samplers.reverse import reverse_step
from rps.settings import not_negative


class Ldir(Sampler):
    """z~ = the ancestral step from z; z' = z~ - xi abar_t grad_z ||y - A(D(z~(z)))||^2.

    DPS measures the misfit to y of the estimated clean latent; this measures that of the next latent. One network call
    per step, differentiated with respect to its input.

    Args:
        step_size: xi, for z in units of sqrt(alpha^2 + sigma^2), in which z~ is also decoded; None is derived, see
            rps.samplers.Dps, with the residual of z~, so it is short while z~ is noisy.
        squared: whether to square the norm.
        clip_image: whether to clip D(z~) to [-1, 1] in the gradient.
        decay: whether to multiply a given xi by abar_t.
    """

    def __init__(
        self, step_size: float | None = None, squared: bool = True, clip_image: bool = False, decay: bool = True
    ) -> None:
        not_negative(step_size=step_size)
        self.step_size, self.squared, self.clip_image, self.decay = step_size, squared, clip_image, decay

    def step(
        self, x: Tensor, t: Tensor, t_next: Tensor, measurement: Measurement, prior: Prior, noise: Streams
    ) -> Tensor:
        schedule = prior.schedule
        norm, norm_next = schedule.norm(t, x), schedule.norm(t_next, x)

        def moved(denoised: Denoised) -> Tensor:
            return reverse_step(denoised, t, t_next, schedule, noise)

        def loss(_: Tensor, denoised: Denoised) -> Tensor:
            image = image_of(moved(denoised) / norm_next, prior, self.clip_image)
            residual = measurement.residual(image).flatten(1)
            return residual.square().sum(1) if self.squared else residual.norm(dim=1)

        denoised, gradient, losses = through_prior(x, t, prior, loss)
        if self.step_size is None:
            power = 2 if self.squared else 1
            xi = derived_step(gradient, losses, power, t, t_next, measurement, schedule)
        else:
            xi = self.step_size * norm * norm_next * ((schedule.at(t, x)[0] / norm) ** 2 if self.decay else 1.0)
        return moved(denoised) - xi * gradient
