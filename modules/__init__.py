"""LightningModules that run each method in their predict_step."""

from modules.base import SolverModule
from modules.methods import (
    Ccdf,
    Interpolation,
    LatentTransport,
    LmapRps,
    MapRps,
    PosteriorSampling,
    SampleAverage,
    SettingSweep,
    StepNumber,
    VarianceScaling,
)

__all__ = [
    "Ccdf",
    "Interpolation",
    "LatentTransport",
    "LmapRps",
    "MapRps",
    "PosteriorSampling",
    "SampleAverage",
    "SettingSweep",
    "SolverModule",
    "StepNumber",
    "VarianceScaling",
]
