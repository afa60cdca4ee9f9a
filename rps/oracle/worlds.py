"""Worlds whose posterior is known: analytic priors and images drawn from them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rps.measurement import degrade
from rps.metrics.features import FeatureNetwork
from rps.metrics.frechet import Gaussian, Statistics, root
from rps.noise import Noise
from rps.operators.base import Operator
from rps.oracle.gaussian import optimal_coupling
from rps.oracle.measures import exact_sample
from rps.priors.analytic.base import AnalyticPrior
from rps.priors.analytic.empirical import EmpiricalPrior
from rps.priors.analytic.gaussian_mixture import GaussianMixturePrior
from rps.priors.analytic.mixture import Mixture
from rps.randomness import Streams


def smooth_prior(
    size: int = 4, components: int = 1, std: float = 0.35, length: float = 2.0, spread: float = 0.4
) -> GaussianMixturePrior:
    """x ~ sum_k pi_k N(m_k, S_k) over grey images of size x size pixels, float64, nearly all within [-1, 1].

    S_k = (std / (1 + k / 2))^2 exp(-distance / length), k = 0, 1, ...; m_k = spread * sign * cos(pi f . pixel), with a
    different frequency f for each k, and 0 for a single component; pi_k is proportional to 1 + k.

    Args:
        size: height and width of the images, in pixels.
        components: number K of components.
        std: standard deviation of a pixel in the first component, in [-1, 1] units.
        length: correlation length, in pixels; 0 makes pixels independent.
        spread: amplitude of the means, in [-1, 1] units.
    """
    if size < 1 or components < 1 or not std > 0 or length < 0:
        raise ValueError(
            "size and components must be at least 1, std > 0 and length >= 0, got "
            f"size={size}, components={components}, std={std}, length={length}"
        )
    place = torch.arange(size, dtype=torch.float64)
    grid = torch.cartesian_prod(place, place) if size > 1 else place.new_zeros(1, 2)
    distance = torch.cdist(grid, grid, compute_mode="donot_use_mm_for_euclid_dist")
    shape = torch.exp(-distance / length) if length > 0 else torch.eye(size**2, dtype=torch.float64)
    k = torch.arange(components, dtype=torch.float64)
    scale = (std / (1 + k / 2)) ** 2
    frequency = torch.stack([k % 2 + 1, k.div(2, rounding_mode="floor")], dim=1) / size
    waves = spread * (1 - 2 * (k % 2)).unsqueeze(1) * torch.cos(torch.pi * (frequency @ (grid.mT + 0.5)))
    means = (waves if components > 1 else torch.zeros_like(waves)).view(components, 1, size, size)
    weights = (1 + k) / (1 + k).sum()
    return GaussianMixturePrior(means, scale.view(-1, 1, 1) * shape, weights)


def empirical_prior(images: int = 256, size: int = 4, components: int = 1, std: float = 0.35) -> EmpiricalPrior:
    """A prior over draws from a `smooth_prior`: a set of images so small that y leaves several of them plausible.

    Args:
        images: number of images.
        size: height and width of the images, in pixels.
        components: number of components of the smooth prior.
        std: standard deviation of a pixel in the smooth prior, in [-1, 1] units.
    """
    source = smooth_prior(size, components, std)
    return EmpiricalPrior(draw(source, [f"image {k}" for k in range(images)]))


def law(prior: AnalyticPrior) -> Mixture:
    """p(x) on the CPU, in double precision; one row."""
    return prior.law(torch.zeros((), dtype=torch.float64))


def draw(prior: AnalyticPrior, ids: Sequence[str], seed: int = 0) -> Tensor:
    """One image of the prior for each id, a function of (seed, id) alone.  -> float64 [N, C, H, W]."""
    return exact_sample(law(prior), Streams(seed, ids).at("image")).view(-1, *prior.sample_shape)


class Pixels(FeatureNetwork):
    """Coordinates of an image in [0, 1] along a few directions, for which the Frechet distance to a Gaussian prior is
    the Wasserstein-2 distance along them.

    Args:
        basis: [D, q] with orthonormal columns; the identity gives the pixels themselves.
    """

    basis: Tensor

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        pixels, self.dim = basis.shape
        self.name = "pixels in [0, 1]" if self.dim == pixels else f"{self.dim} directions of which y says least"
        self.register_buffer("basis", basis.float(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).float() @ self.basis


def expected_covariance(
    prior: AnalyticPrior, operator: Operator, noise: float | Noise, parts: int = 8, seed: int = 0
) -> Tensor:
    """E[Cov(x | y)] estimated from several sets of 8 draws of (x, y). Exact if Cov(x | y) is the same for every y: for
    a Gaussian, with one operator for all images.  -> [parts, D, D]."""
    found = []
    for part in range(parts):
        ids = [f"moments {8 * part + i}" for i in range(8)]
        measurement = degrade(draw(prior, ids, seed), operator, noise, ids, seed)
        found.append(prior.posterior(measurement).covariance().mean(0))
    return torch.stack(found)


def uncertain(prior: AnalyticPrior, expected: Tensor, most: int = 16) -> Tensor:
    """The directions w that y determines least, with the largest w^T E[Cov(x | y)] w / w^T Cov(x) w: a Frechet distance
    over many pixels needs many images, and estimates agree in the directions that y determines. The pixels themselves
    if there are at most `most`.

    expected: `expected_covariance` [parts, D, D] -> [D, q], orthonormal columns.
    """
    expected = expected.mean(0)
    if len(expected) <= most:
        return torch.eye(len(expected)).to(expected)
    white = root(law(prior).covariance()[0], -0.5)
    return torch.linalg.qr(white @ torch.linalg.eigh(white @ expected @ white)[1][:, -most:])[0]


def moments(prior: AnalyticPrior, basis: Tensor) -> Gaussian:
    """Mean and covariance of the prior along the directions of a basis [D, q], in closed form."""
    mixture = law(prior)
    return Gaussian(mixture.mean()[0] @ basis, basis.mT @ mixture.covariance()[0] @ basis)


def estimate_moments(prior: AnalyticPrior, basis: Tensor, expected: Tensor) -> Gaussian:
    """Mean and covariance of E[x | y] along the directions of a basis: those of the prior, less E[Cov(x | y)].

    Variances within 2 standard errors of zero (by the norm of the standard errors) are set to zero, because scaling
    E[x | y] up by them would amplify noise. expected: `expected_covariance` [parts, D, D].
    """
    law = moments(prior, basis)
    within = basis.mT @ expected @ basis
    error = 2 * float(within.std(0).norm()) / len(within) ** 0.5 + 1e-9 * float(law.cov.trace())
    values, vectors = torch.linalg.eigh(law.cov - within.mean(0))
    return Gaussian(law.mean, (vectors * torch.where(values > error, values, 0.0)) @ vectors.mT)


def pixel_statistics(prior: AnalyticPrior, basis: Tensor) -> Statistics:
    """The prior's moments of images in [0, 1], x -> (x + 1) / 2: n = 0 images."""
    law = moments(prior, basis)
    return Statistics((law.mean + basis.sum(0)) / 2, law.cov / 4, 0, "the prior in closed form")


def optimal_images(
    prior: Gaussian, estimate: Gaussian, basis: Tensor, best: Tensor, weights: Sequence[float], streams: Streams
) -> dict[float, Tensor]:
    """X_w = X* + w (X_0 - X*), X* = E[x | y], where X_0 differs from X* only along the directions of a basis, has the
    mean and covariance of the prior there, and is as close to X* as these allow; see
    `rps.oracle.gaussian.optimal_coupling`.

    If perception is Gelbrich's distance to the prior along these directions (the Frechet distance of `Pixels`), X_w
    lies on the curve D(P) = D* + [(P* - P)_+]^2, a lower bound for any laws, because that distance obeys the triangle
    inequality. For a Gaussian prior and all pixels, it is W2, and X_w is the optimal estimator of arXiv 2107.02555.

    prior, estimate: `moments` and `estimate_moments` for the basis [D, q]. best: X* [N, D] -> weight -> [N, D].
    """
    prior, estimate = (Gaussian(known.mean.to(best), known.cov.to(best)) for known in (prior, estimate))
    basis = basis.to(best)
    offset = best @ basis - prior.mean
    m, r = optimal_coupling(prior, estimate)
    drawn = offset @ m.mT + streams.at("optimal").normal((len(prior.mean),)).to(best) @ root(0.5 * (r + r.mT))
    return {w: best + w * (drawn - offset) @ basis.mT for w in weights}
