"""Traversals: methods that move along the distortion-perception curve."""

from rps.traversals.base import Traversal
from rps.traversals.ccdf import Ccdf
from rps.traversals.interpolation import Interpolation
from rps.traversals.latent_transport import LatentTransport
from rps.traversals.map_rps import LmapRps, MapRps
from rps.traversals.sample_average import SampleAverage
from rps.traversals.setting_sweep import SettingSweep
from rps.traversals.step_number import PosteriorSampling, StepNumber
from rps.traversals.variance_scaling import VarianceScaling

__all__ = [
    "Ccdf",
    "Interpolation",
    "LatentTransport",
    "LmapRps",
    "MapRps",
    "PosteriorSampling",
    "SampleAverage",
    "SettingSweep",
    "StepNumber",
    "Traversal",
    "VarianceScaling",
]
