"""Image restoration along the distortion-perception curve: MAP-RPS (arXiv 2605.28711) and its parts.

    import rps

    y = rps.degrade(images, rps.SuperResolution(4), noise=0.1)
    result = rps.MapRps(t0=[0, 100, 300]).run(y, rps.EmbeddedPrior())

Rooms: rps.operators, priors, estimators, samplers, traversals, metrics. Every operator, prior, estimator, sampler and
traversal has its name in `rps` as well; `dir(rps)` lists the rooms and what is used most. Names are imported on first
use, so `import rps` is cheap.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from rps import estimators as estimators
    from rps import metrics as metrics
    from rps import operators as operators
    from rps import priors as priors
    from rps import samplers as samplers
    from rps import traversals as traversals
    from rps.estimators import *  # noqa: F403
    from rps.measurement import Measurement as Measurement
    from rps.measurement import degrade as degrade
    from rps.measurement import measured as measured
    from rps.operators import *  # noqa: F403
    from rps.priors import *  # noqa: F403
    from rps.randomness import Streams as Streams
    from rps.restoration import Prediction as Prediction
    from rps.restoration import Restoration as Restoration
    from rps.samplers import *  # noqa: F403
    from rps.traversals import *  # noqa: F403

__version__ = "0.1.0"

_ROOMS = ("estimators", "operators", "priors", "samplers", "traversals")
"""Rooms whose names are names of rps as well."""
_OTHERS = {
    "Measurement": "measurement",
    "Prediction": "restoration",
    "Restoration": "restoration",
    "Streams": "randomness",
    "degrade": "measurement",
    "measured": "measurement",
}
_SHOWN = (
    *_ROOMS, "metrics", *_OTHERS, "check_operator", "check_prior", "check_sampler",
    "AnisotropicBlur", "BoxInpaint", "Denoise", "Inpaint", "SuperResolution",
    "DiffusersPrior", "EmbeddedConditionalPrior", "EmbeddedLatentPrior", "EmbeddedPrior", "GuidedDiffusionPrior",
    "LatentPrior", "StableDiffusionPrior",
    "MapEstimator", "ProximalMap", "PseudoInverse", "Dps", "LatentDps", "LmapRps", "MapRps", "PosteriorSampling",
)  # fmt: skip
"""What `dir` lists."""


def __getattr__(name: str) -> _Any:
    if name == "__all__":
        return sorted({*_OTHERS, *(name for room in _ROOMS for name in _room(room).__all__)})
    if name.startswith("_"):
        raise AttributeError(f"module 'rps' has no attribute {name!r}")
    if name in _OTHERS:
        return getattr(_room(_OTHERS[name]), name)
    if _find_spec(f"rps.{name}") is not None:
        return _room(name)
    for room in _ROOMS:
        if name in _room(room).__all__:
            return getattr(_room(room), name)
    raise AttributeError(f"module 'rps' has no attribute {name!r}; its rooms are {', '.join([*_ROOMS, 'metrics'])}")


def _room(name: str) -> _Any:
    return _import_module(f"rps.{name}")


def __dir__() -> list[str]:
    return sorted([*_SHOWN, "__version__"])
