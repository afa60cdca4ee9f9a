"""Point estimates of low distortion: the first stage of a traversal."""

from rps.estimators.base import Estimator
from rps.estimators.map import MapEstimator
from rps.estimators.pseudo_inverse import PseudoInverse

__all__ = ["Estimator", "MapEstimator", "PseudoInverse"]
