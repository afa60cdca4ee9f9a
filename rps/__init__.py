"""Image restoration along the distortion-perception curve: MAP-RPS (arXiv 2605.28711) and its parts.

    from rps import DiffusersPrior, Dps, MapRps, SuperResolution, degrade

Names are imported on first use, so `import rps` is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rps.estimators import MapEstimator, PseudoInverse
    from rps.measurement import Measurement, degrade, measured
    from rps.operators import AnisotropicBlur, BoxInpaint, Denoise, Inpaint, SuperResolution, check_operator
    from rps.priors import (
        DiffusersPrior,
        EmbeddedLatentPrior,
        EmbeddedPrior,
        EmpiricalPrior,
        GaussianMixturePrior,
        GuidedDiffusionPrior,
        LatentPrior,
        LowRankMixturePrior,
        StableDiffusionPrior,
        check_prior,
    )
    from rps.randomness import Streams
    from rps.restoration import Prediction, Restoration
    from rps.samplers import Dps, LatentDps, Psld, check_sampler
    from rps.traversals import LmapRps, MapRps

__version__ = "0.1.0"

_ROOMS = {
    "estimators": ["MapEstimator", "PseudoInverse"],
    "measurement": ["Measurement", "degrade", "measured"],
    "operators": ["AnisotropicBlur", "BoxInpaint", "Denoise", "Inpaint", "SuperResolution", "check_operator"],
    "priors": [
        "DiffusersPrior",
        "EmbeddedLatentPrior",
        "EmbeddedPrior",
        "EmpiricalPrior",
        "GaussianMixturePrior",
        "GuidedDiffusionPrior",
        "LatentPrior",
        "LowRankMixturePrior",
        "StableDiffusionPrior",
        "check_prior",
    ],
    "randomness": ["Streams"],
    "restoration": ["Prediction", "Restoration"],
    "samplers": ["Dps", "LatentDps", "Psld", "check_sampler"],
    "traversals": ["LmapRps", "MapRps"],
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [  # noqa: RUF022 - by room, as above
    "MapEstimator", "PseudoInverse",
    "Measurement", "degrade", "measured",
    "AnisotropicBlur", "BoxInpaint", "Denoise", "Inpaint", "SuperResolution", "check_operator",
    "DiffusersPrior", "EmbeddedLatentPrior", "EmbeddedPrior", "EmpiricalPrior", "GaussianMixturePrior",
    "GuidedDiffusionPrior", "LatentPrior", "LowRankMixturePrior", "StableDiffusionPrior", "check_prior",
    "Streams", "Prediction", "Restoration", "Dps", "LatentDps", "Psld", "check_sampler",
    "LmapRps", "MapRps",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ROOM_OF:
        return getattr(import_module(f"rps.{_ROOM_OF[name]}"), name)
    raise AttributeError(f"module 'rps' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOM_OF])
