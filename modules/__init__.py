"""LightningModules: each solver as a predict_step."""

from modules.base import SolverModule
from modules.ccdf import Ccdf
from modules.interpolation import Interpolation
from modules.latent_baselines import Dcdp, LatentDaps, LatentDmap, LatentDps, Ldir, Psld, ReSample, Sitcom, Stsl
from modules.lmap_rps import LmapRps
from modules.map_rps import MapRps
from modules.sample_average import SampleAverage
from modules.step_number import PosteriorSampling, StepNumber
from modules.variance_scaling import VarianceScaling

__all__ = [
    "Ccdf",
    "Dcdp",
    "Interpolation",
    "LatentDaps",
    "LatentDmap",
    "LatentDps",
    "Ldir",
    "LmapRps",
    "MapRps",
    "PosteriorSampling",
    "Psld",
    "ReSample",
    "SampleAverage",
    "Sitcom",
    "SolverModule",
    "StepNumber",
    "Stsl",
    "VarianceScaling",
]
