"""Short runs of every estimator, sampler and traversal of rps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rps import estimators, samplers, traversals
from rps.estimators import Estimator, MapEstimator
from rps.priors import Prior
from rps.samplers import Dps, ExactPosterior, LatentDps, Sampler
from rps.traversals import PosteriorSampling, Traversal

STEPS = 2
SHORT: dict[str, dict[str, Any]] = {
    "ChainAverage": {"first": MapEstimator(STEPS), "steps": 5, "chains": 2},
    "ChainEstimator": {"num_steps": STEPS},
    "DmapEstimator": {"num_steps": STEPS},
    "RmpEstimator": {"num_steps": STEPS},
    "MapEstimator": {"num_steps": STEPS},
    "ProximalMap": {"num_steps": 4},
    "RedDiff": {"num_steps": STEPS},
    "Sitcom": {"inner_steps": 2},
    "ReSample": {"pixel_steps": 10, "latent_steps": 10},
    "MapRps": {"estimator": MapEstimator(STEPS), "steps": 10},
    "LmapRps": {"t0": [0, 200], "estimator": MapEstimator(STEPS), "steps": 10},
    "Ccdf": {"steps": 10},
    "Interpolation": {"estimator": MapEstimator(STEPS), "levels": [0.0, 0.5, 1.0], "steps": STEPS},
    "SampleAverage": {"levels": [1, 2], "steps": STEPS},
    "SettingSweep": {"levels": [0.3, 1.0], "steps": STEPS},
    "StepNumber": {"levels": [2, 1]},
    "VarianceScaling": {"levels": [1.0, 0.5], "step_size": 1.0, "steps": STEPS},
}
"""Settings that shorten a run; a class that is not named has its defaults."""


def runs(prior: Prior) -> Iterator[tuple[str, Traversal]]:
    """(name, a traversal that is mostly this class) of everything."""
    chain: Sampler = LatentDps() if prior.latent else Dps()
    for name in estimators.__all__:
        if name not in ("Estimator", "PosteriorMean"):
            own = {"sampler": chain} if name in ("ChainAverage", "ChainEstimator") else {}
            estimator: Estimator = getattr(estimators, name)(**own, **SHORT.get(name, {}))
            yield name, traversals.MapRps([0], estimator)
    for name in samplers.__all__:
        kind = getattr(samplers, name)
        if isinstance(kind, type) and kind not in (Sampler, ExactPosterior):
            yield name, PosteriorSampling(kind(**SHORT.get(name, {})), steps=STEPS)
    for name in traversals.__all__:
        if name not in ("Traversal", "PosteriorSampling", "LatentTransport"):  # the last has no chain
            own = {} if name in ("VarianceScaling", "LmapRps") else {"sampler": chain}
            yield name, getattr(traversals, name)(**own, **SHORT[name])
