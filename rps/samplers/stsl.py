"""Second-order Tweedie sampling with a surrogate loss, STSL (arXiv 2312.00852)."""

from __future__ import annotations

from torch import Tensor

from rps.measurement import Measurement
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.samplers.guidance import Guided, image_of, through_prior
from rps.samplers.latent import LatentDps
from rps.settings import not_negative


class Stsl(LatentDps):
    """LatentDps with the loss ||y - A(D(z0hat(z)))||^2 + nu e^T (s(z + e) - s(z)), e ~ N(0, I), s = -eps / sigma_t,
    for z in units of sqrt(alpha^2 + sigma^2).

    The second term estimates the trace of the Jacobian of the score, which determines the covariance of p(z_0 | z_t).
    Two network calls per step, both differentiated with respect to their input.

    Args:
        step_size: xi; None is derived, see rps.samplers.Dps.
        trace_weight: nu.
        squared: whether to square the norm.
        clip_image: whether to clip D(z0hat) to [-1, 1] in the gradient.
    """

    def network_calls(self, steps: int) -> int:
        return 2 * steps

    def __init__(
        self, step_size: float | None = None, trace_weight: float = 0.02, squared: bool = True, clip_image: bool = False
    ) -> None:
        super().__init__(step_size, squared, clip_image)
        not_negative(trace_weight=trace_weight)
        self.trace_weight = trace_weight

    def guided(self, x: Tensor, t: Tensor, measurement: Measurement, prior: Prior, noise: Streams) -> Guided:
        e = noise.at("trace").normal(x.shape[1:]).to(x)
        norm = prior.schedule.norm(t, x)
        sigma = (prior.schedule.at(t, x)[1] / norm).flatten()

        def loss(z: Tensor, denoised: Denoised) -> Tensor:
            data = self.misfit(image_of(denoised.x0, prior, self.clip_image), measurement)
            difference = prior.denoise(z + norm * e, t).eps - denoised.eps
            return data - self.trace_weight * (e * difference).flatten(1).sum(1) / sigma

        return through_prior(x, t, prior, loss)
