"""Estimators: point estimates of low distortion, the first stage of a traversal."""

from rps.estimators.base import Estimator
from rps.estimators.chain import ChainEstimator, DmapEstimator, RmpEstimator
from rps.estimators.chain_average import ChainAverage
from rps.estimators.map import MapEstimator
from rps.estimators.posterior_mean import PosteriorMean
from rps.estimators.proximal_map import ProximalMap
from rps.estimators.pseudo_inverse import PseudoInverse
from rps.estimators.red_diff import RedDiff

__all__ = [
    "ChainAverage",
    "ChainEstimator",
    "DmapEstimator",
    "Estimator",
    "MapEstimator",
    "PosteriorMean",
    "ProximalMap",
    "PseudoInverse",
    "RedDiff",
    "RmpEstimator",
]
