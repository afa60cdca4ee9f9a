"""A small Gaussian world, in which every answer is known."""

from __future__ import annotations

import torch

from rps.priors import GaussianMixturePrior
from rps.priors.analytic.mixture import Mixture

SHAPE = (1, 4, 4)
DIM = 16


def correlated_prior(components: int = 1) -> GaussianMixturePrior:
    """Zero-mean for one component; otherwise means that are far apart. Float64, 4 x 4 pixels."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(components, DIM, DIM, generator=generator, dtype=torch.float64)
    covariances = root @ root.mT / DIM * 0.25 + 0.02 * torch.eye(DIM, dtype=torch.float64)
    means = torch.randn(components, *SHAPE, generator=generator, dtype=torch.float64) * (components > 1)
    weights = torch.arange(1, components + 1, dtype=torch.float64)
    return GaussianMixturePrior(means, covariances, weights / weights.sum())


def draw(prior: GaussianMixturePrior, n: int, seed: int = 1) -> torch.Tensor:
    """n images from the prior."""
    return draws(prior.mixture, n, seed).view(n, *SHAPE)


def draws(law: Mixture, n: int, seed: int = 1) -> torch.Tensor:
    """n draws of a mixture of one row.  -> [n, D]."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    normal = torch.randn(n, law.noises, generator=generator, dtype=torch.float64)
    return law.sample(uniform.to(law.means), normal.to(law.means))
