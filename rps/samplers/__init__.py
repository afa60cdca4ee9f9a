"""One step of a posterior sampler each."""

from rps.samplers.base import Sampler
from rps.samplers.dps import Dps
from rps.samplers.exact_posterior import ExactPosterior

__all__ = ["Dps", "ExactPosterior", "Sampler"]
