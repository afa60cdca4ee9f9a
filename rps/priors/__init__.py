"""Priors, the models of clean images: one call gives the denoised image."""

from rps.priors.analytic.base import AnalyticPrior
from rps.priors.analytic.empirical import EmpiricalPrior, WeightedImages
from rps.priors.analytic.fit import fit_mixture
from rps.priors.analytic.gaussian_mixture import GaussianMixture, GaussianMixturePrior
from rps.priors.analytic.low_rank_mixture import LowRankMixture
from rps.priors.analytic.low_rank_posterior import LowRankPosterior
from rps.priors.analytic.low_rank_prior import LowRankMixturePrior
from rps.priors.analytic.mixture import Mixture
from rps.priors.base import Denoised, Prior
from rps.priors.check import check_prior
from rps.priors.checkpoints.guided_diffusion import GuidedDiffusionPrior
from rps.priors.diffusers_prior import DiffusersPrior
from rps.priors.embedded import EmbeddedConditionalPrior, EmbeddedLatentPrior, EmbeddedPrior, PhotoPrior
from rps.priors.generator import ConditionalGenerator, EmbeddedGenerator
from rps.priors.latent_prior import LatentPrior
from rps.priors.pmrf import EmbeddedPmrf, Pmrf
from rps.priors.speed import Speed
from rps.priors.stable_diffusion import StableDiffusionPrior
from rps.priors.tiled import TiledPrior

__all__ = [
    "AnalyticPrior",
    "ConditionalGenerator",
    "Denoised",
    "DiffusersPrior",
    "EmbeddedConditionalPrior",
    "EmbeddedGenerator",
    "EmbeddedLatentPrior",
    "EmbeddedPmrf",
    "EmbeddedPrior",
    "EmpiricalPrior",
    "GaussianMixture",
    "GaussianMixturePrior",
    "GuidedDiffusionPrior",
    "LatentPrior",
    "LowRankMixture",
    "LowRankMixturePrior",
    "LowRankPosterior",
    "Mixture",
    "PhotoPrior",
    "Pmrf",
    "Prior",
    "Speed",
    "StableDiffusionPrior",
    "TiledPrior",
    "WeightedImages",
    "check_prior",
    "fit_mixture",
]
