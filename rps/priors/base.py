"""Prior, the base class: one call gives the denoised image E[x_0 | x_t]."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from rps.cost import RelativeCost
from rps.image_checks import LARGEST
from rps.schedule import Schedule

if TYPE_CHECKING:
    from rps.measurement import Measurement
    from rps.priors.analytic.mixture import Mixture


class Denoised(NamedTuple):
    """A prior's estimate for x_t = alpha_t x_0 + sigma_t eps.

    x0: [N, ...] the posterior mean E[x_0 | x_t] (Tweedie); never clipped.
    eps: [N, ...] the matching noise (x_t - alpha_t x0) / sigma_t.
    variance_fraction: [N, ...] for networks with learned variance, else None. 0 is the smallest and 1 the largest
        variance of the reverse step, interpolated in the logarithm (arXiv 2102.09672, eq. 15).
    """

    x0: Tensor
    eps: Tensor
    variance_fraction: Tensor | None = None


class Need(NamedTuple):
    """A condition that every sample must have: a column of the batch and of Measurement.conditions.

    name: name of the column. instead: the prior's argument that sets the condition for all samples.
    """

    name: str
    instead: str


class Prior(nn.Module):
    """A model of clean images. Subclasses set `schedule` and `sample_shape` and define `denoise`.

    The diffusion runs in a sample space of shape `sample_shape`: the image itself for pixel models; latent models map
    images to samples and back with `encode` and `decode`.

    map_timestep: timestep at which MapEstimator takes the score by default.
    data_std: standard deviation of a number of x_0, root mean square over the sample; by default that of images in
    [-1, 1] (sigma_data of arXiv 2206.00364); infinite if it is unknown, as for latents.
    largest_value: absolute value beyond which an image is taken for one in other units than [-1, 1].
    latent: whether samples are latents and not images. needs: the condition that every sample must have, if any.
    evaluations: network evaluations in one `denoise`; 2 with classifier-free guidance. Network calls are counted in
    evaluations.
    relative_cost: the time of a backward of the network, and of a call and a backward of the decoder, relative to one
    network evaluation.
    any_size: whether `given` binds the prior to the size of the measurement's images. multiple: `denoise` also takes
    samples whose height and width are multiples of it; None: no other size than sample_shape. tiles: tiles that a
    picture is cut into, each of which is a call of the decoder.
    """

    schedule: Schedule
    sample_shape: tuple[int, int, int]
    map_timestep: int = 10
    data_std: float = 0.5
    largest_value: float = LARGEST
    latent: bool = False
    evaluations: int = 1
    relative_cost: RelativeCost = RelativeCost()
    needs: Need | None = None
    any_size: bool = False
    multiple: int | None = None
    tiles: int = 1

    def __repr__(self) -> str:
        if not (hasattr(self, "schedule") and hasattr(self, "sample_shape")):  # not set yet
            return super().__repr__()
        shapes = {"images": self.image_shape} | ({"latents": self.sample_shape} if self.latent else {})
        parts = [f"{name} of {' x '.join(map(str, shape))}" for name, shape in shapes.items()]
        number = sum(weight.numel() for weight in self.parameters())
        parts += [f"{len(self.schedule)} timesteps", *([f"{number:,} parameters"] if number else [])]
        return f"{type(self).__name__}({', '.join(parts)})"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """[C, H, W] of the images; the shape of the samples unless there is a decoder."""
        return self.sample_shape

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        """E[x_0 | x_t] for each row.  x: [N, *sample_shape], t: [N] integers in 0 .. T-1."""
        raise NotImplementedError(f"{type(self).__name__} must define denoise(x, t)")

    def given(self, measurement: Measurement) -> Prior:
        """This prior bound, row by row, to the captions or labels and the random numbers of a measurement's samples. An
        override returns a shallow copy (`rps.shallow.shallow_copy`) and leaves self unchanged."""
        return self

    def posterior(self, measurement: Measurement) -> Mixture:
        """p(x_0 | y), one mixture per row.  Errors: ValueError if it is not known."""
        raise ValueError(
            "the exact posterior needs an AnalyticPrior (GaussianMixturePrior, LowRankMixturePrior or EmpiricalPrior), "
            f"got {type(self).__name__}"
        )

    def posterior_at(self, x: Tensor, t: Tensor, measurement: Measurement) -> Mixture:
        """p(x_0 | x_t, y).  x: [N, *sample_shape], t: [N].  Errors: ValueError if it is not known."""
        raise ValueError(
            "p(x_0 | x_t, y) needs an AnalyticPrior (GaussianMixturePrior, LowRankMixturePrior or EmpiricalPrior), "
            f"got {type(self).__name__}"
        )

    def encode(self, image: Tensor) -> Tensor:
        """Image [N, C, H, W] in [-1, 1] -> sample [N, *sample_shape]."""
        return image

    def decode(self, sample: Tensor) -> Tensor:
        """Sample [N, *sample_shape] -> image [N, C, H, W]."""
        return sample

    def from_x0(self, x: Tensor, x0: Tensor, t: Tensor) -> Denoised:
        """The Denoised for an estimate of x_0."""
        alpha, sigma = self.schedule.at(t, x)
        return Denoised(x0, (x - alpha * x0) / sigma)

    def from_eps(self, x: Tensor, eps: Tensor, t: Tensor) -> Denoised:
        """The Denoised for an estimate of the noise."""
        alpha, sigma = self.schedule.at(t, x)
        return Denoised((x - sigma * eps) / alpha, eps)

    def from_v(self, x: Tensor, v: Tensor, t: Tensor) -> Denoised:
        """The Denoised for an estimate of v = alpha_t eps - sigma_t x_0 (arXiv 2202.00512)."""
        alpha, sigma = self.schedule.at(t, x)
        norm = alpha**2 + sigma**2
        return Denoised((alpha * x - sigma * v) / norm, (sigma * x + alpha * v) / norm)
