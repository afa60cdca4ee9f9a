"""Posterior sampling with latent diffusion, PSLD (arXiv 2307.00619)."""

from __future__ import annotations

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.samplers.guidance import Guided, image_of, through_denoiser
from rps.samplers.latent import LatentDps
from rps.settings import not_negative


class Psld(LatentDps):
    """LatentDps with the loss ||y - A(D(z0hat)) - sigma_y n||^2 + lam ||z0hat - E(Pi_y D(z0hat))||^2, n ~ N(0, I) and
    Pi_y x = x + A^+ (y - A x); E(...) is treated as a constant.

    The second, gluing term keeps latents consistent with both y and the decoder. One network call per step,
    differentiated with respect to its input. For a nonlinear A, A^+ is the operator's `pinv`, which is y itself for
    images, as in the runs of arXiv 2605.28711.

    Args:
        step_size: xi; published .04 for deblurring on FFHQ; None is derived, see rps.samplers.Dps.
        lam: weight of the gluing term.
        squared: whether to square the norm of the first term.
        clip_image: whether to clip D(z0hat) to [-1, 1] in the gradient.
        rcond: smallest singular value, relative to the largest, that A^+ keeps.
    """

    def __init__(
        self,
        step_size: float | None = None,
        lam: float = 0.1,
        squared: bool = True,
        clip_image: bool = False,
        rcond: float = 0.1,
    ) -> None:
        super().__init__(step_size, squared, clip_image)
        not_negative(lam=lam, rcond=rcond)
        self.lam, self.rcond = lam, rcond

    def guided(self, x: Tensor, t: Tensor, measurement: Measurement, prior: Prior, noise: Streams) -> Guided:
        operator, y = measurement.operator, measurement.y
        n = noise.at("measurement noise").normal(y.shape[1:]).to(y)

        def loss(z0: Tensor) -> Tensor:
            image = image_of(z0, prior, self.clip_image)
            error = (y - measurement.noise_std * n - operator(image)).flatten(1)
            data = error.square().sum(1) if self.squared else torch.linalg.vector_norm(error, dim=1)
            with torch.no_grad():
                glued = prior.encode(image + operator.pinv(y - operator(image), self.rcond))
            return data + self.lam * (z0 - glued).flatten(1).square().sum(1)

        return through_denoiser(x, t, prior, loss)
