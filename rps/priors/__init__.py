"""What images look like: one call gives the denoised image."""

from rps.priors.base import Denoised, Prior
from rps.priors.diffusers_prior import DiffusersPrior, EmbeddedPrior
from rps.priors.gaussian_mixture import GaussianMixture, GaussianMixturePrior

__all__ = ["Denoised", "DiffusersPrior", "EmbeddedPrior", "GaussianMixture", "GaussianMixturePrior", "Prior"]
