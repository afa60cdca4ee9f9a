"""LightningModules that run each method in their predict_step."""

from modules.base import SolverModule
from modules.methods import (
    Ccdf,
    Interpolation,
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
    "LmapRps",
    "MapRps",
    "PosteriorSampling",
    "SampleAverage",
    "SettingSweep",
    "SolverModule",
    "StepNumber",
    "VarianceScaling",
]
