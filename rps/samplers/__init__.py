"""Samplers, each one step of a posterior sampler, and the loop that runs them (`chains`)."""

from rps.samplers.base import Sampler
from rps.samplers.check import check_sampler
from rps.samplers.daps import Daps
from rps.samplers.dcdp import Dcdp
from rps.samplers.ddim import Ddim
from rps.samplers.ddnm import Ddnm
from rps.samplers.ddrm import Ddrm
from rps.samplers.diffpir import DiffPir
from rps.samplers.dmap import Dmap
from rps.samplers.dmps import Dmps
from rps.samplers.dps import Dps
from rps.samplers.exact_posterior import ExactPosterior
from rps.samplers.latent import LatentDaps, LatentDps
from rps.samplers.ldir import Ldir
from rps.samplers.pigdm import PiGdm
from rps.samplers.psld import Psld
from rps.samplers.resample import ReSample
from rps.samplers.sitcom import Sitcom
from rps.samplers.stsl import Stsl
from rps.samplers.vsdps import VsDps

__all__ = [
    "Daps",
    "Dcdp",
    "Ddim",
    "Ddnm",
    "Ddrm",
    "DiffPir",
    "Dmap",
    "Dmps",
    "Dps",
    "ExactPosterior",
    "LatentDaps",
    "LatentDps",
    "Ldir",
    "PiGdm",
    "Psld",
    "ReSample",
    "Sampler",
    "Sitcom",
    "Stsl",
    "VsDps",
    "check_sampler",
]
