"""Small worlds in which the posterior is known: analytic priors, and images drawn from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rps.metrics.features import FeatureNetwork
from rps.metrics.frechet import Statistics
from rps.metrics.gaussian import Gaussian, optimal_coupling, root
from rps.priors.gaussian_mixture import GaussianMixture, GaussianMixturePrior
from rps.randomness import Streams


def smooth_prior(
    size: int = 4, components: int = 1, std: float = 0.35, length: float = 2.0, spread: float = 0.4
) -> GaussianMixturePrior:
    """x ~ sum_k pi_k N(m_k, S_k) over grey images of size x size pixels, float64, nearly all within [-1, 1].

    S_k = (std / (1 + k / 2))^2 exp(-distance / length), k = 0, 1, ...; m_k = spread * sign * cos(pi f . pixel), of a
    frequency f of its own, and 0 where there is one component; pi_k proportional to 1 + k.

    Args:
        size: height and width. components: K. std: of a pixel. length: in pixels; 0 makes pixels independent.
        spread: amplitude of the means.
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


def draw(prior: GaussianMixturePrior, ids: Sequence[str], seed: int = 0) -> Tensor:
    """One image of the prior for each id, a function of (seed, id) alone.  -> [N, C, H, W], in the prior's dtype."""
    streams, mixture = Streams(seed, ids).at("image"), prior.mixture
    normal = streams.at("x").normal((mixture.means.shape[-1],)).to(mixture.means)
    uniform = streams.at("component").uniform((1,)).to(mixture.means)
    return mixture.sample(uniform, normal).view(-1, *prior.sample_shape)


class Pixels(FeatureNetwork):
    """The pixels themselves: the Frechet distance to a Gaussian prior is then its Wasserstein-2 distance.

    Args:
        shape: [C, H, W] of the images.
    """

    name = "pixels in [0, 1]"

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.dim = math.prod(shape)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).float()


def pixel_statistics(prior: GaussianMixturePrior) -> Statistics:
    """Mean and covariance of the prior's images in [0, 1], x -> (x + 1) / 2, in closed form: n = 0 images."""
    mixture = prior.mixture
    mean, covariance = mixture.mean()[0].double(), mixture.covariance()[0].double()
    return Statistics((mean + 1) / 2, covariance / 4, 0, "the prior in closed form")


def optimal_images(
    prior: GaussianMixturePrior, posterior: GaussianMixture, weights: Sequence[float], streams: Streams
) -> dict[float, Tensor]:
    """X_w = (1 - w) X* + w X_0: the optimal curve D(P) of a Gaussian prior (arXiv 2107.02555), X* = E[x | y], and X_0
    of the prior's law and as near to X* as that allows; see `rps.metrics.gaussian.optimal_coupling`.

    -> weight -> [N, D]; empty where the prior has several components, or the operator differs between images, so that
    X* is no Gaussian.
    """
    covariance = posterior.covariance()
    if posterior.means.shape[1] > 1 or float((covariance - covariance[:1]).abs().max()) > 1e-6:
        return {}
    mean, s = (v[0].to(covariance) for v in (prior.mixture.mean(), prior.mixture.covariance()))
    best = posterior.mean() - mean
    m, r = optimal_coupling(Gaussian(mean, s), Gaussian(mean, s - covariance[0]))
    drawn = best @ m.mT + streams.at("optimal").normal((len(mean),)).to(best) @ root(0.5 * (r + r.mT))
    return {w: mean + (1 - w) * best + w * drawn for w in weights}
