"""What the tests of samplers, estimators and traversals share: who there is, and a small world to run them in."""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import torch

from rps import estimators, samplers, traversals
from rps.estimators import MapEstimator
from rps.measurement import Measurement, degrade
from rps.metrics import Gaussian
from rps.operators import LinearOperator, Operator, SuperResolution
from rps.priors import GaussianMixturePrior
from rps.priors.base import Denoised
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers import Dps
from rps.samplers.chains import Chain, run_chains
from rps.traversals.latent_map import LatentMap
from tests.rps.gaussian import SHAPE, correlated_prior, draw
from tests.rps.latent_models import Z_SHAPE, LinearLatentPrior, latent_draws


def law(mean: float, variance: float) -> Gaussian:
    """Of patches of one number."""
    return Gaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([[variance]], dtype=torch.float64))


# Fewer steps than by default, so that a test takes a moment. Whoever is not named runs with its defaults; who cannot be
# built without arguments must be named.
SMALL: dict[str, dict[str, Any]] = {
    "ChainAverage": {"first": MapEstimator(2), "t0": 300, "steps": 10, "chains": 2},
    "ChainEstimator": {"sampler": Dps(), "num_steps": 4},
    "MapEstimator": {"num_steps": 4, "draws": 2},
    "ProximalMap": {"num_steps": 4},
    "RedDiff": {"num_steps": 4},
    "RmpEstimator": {"num_steps": 4},
    "DmapEstimator": {"num_steps": 4},
    "Daps": {"langevin_steps": 10},
    "Dcdp": {"inner_steps": 4},
    "LatentDaps": {"langevin_steps": 10},
    "ReSample": {"pixel_steps": 4, "latent_steps": 4},
    "Sitcom": {"inner_steps": 4},
    "MapRps": {"t0": [0, 100, 300], "estimator": MapEstimator(2), "steps": 10, "samples": 2},
    "LmapRps": {"t0": [0, 100, 300], "estimator": MapEstimator(2), "sampler": Dps(), "steps": 10},
    "Ccdf": {"t0": [0, 100, 300], "steps": 10},
    "VarianceScaling": {"steps": 4},
    "SampleAverage": {"levels": [1, 3], "steps": 4},
    "StepNumber": {"levels": [5, 2]},
    "SettingSweep": {"steps": 4},
    "PosteriorSampling": {"steps": 4},
    "Interpolation": {"estimator": MapEstimator(2), "steps": 4},
    "LatentTransport": {"transport": LatentMap.between(law(0.2, 1.0), law(-0.1, 2.0)), "estimator": MapEstimator(2)},
}


BASES = {"PerLevel"}
"""Classes that leave nothing to be defined but are no method by themselves."""


def kinds(package: ModuleType, base: type) -> dict[str, type]:
    """Every subclass of `base` that any file of the package defines, exported or not, unless something of it is left to
    be defined by others (raises NotImplementedError).  name -> class."""
    modules = [package]
    for entry in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        modules.append(importlib.import_module(entry.name))
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
        and kind.__module__ == module.__name__
        and not name.startswith("_") and name not in BASES
        and not any(_undefined(kind, attribute) for attribute in dir(kind))
    }  # fmt: skip


def _undefined(kind: type, name: str) -> bool:
    code = getattr(inspect.getattr_static(kind, name), "__code__", None)
    return code is not None and "NotImplementedError" in code.co_names and not name.startswith("_")


def instances(package: ModuleType, base: type) -> dict[str, Any]:
    """One of each of the `kinds`; TypeError for one that needs arguments which SMALL does not have."""
    return {name: kind(**SMALL.get(name, {})) for name, kind in sorted(kinds(package, base).items())}


ESTIMATORS: dict[str, estimators.Estimator] = instances(estimators, estimators.Estimator)
SAMPLERS: dict[str, samplers.Sampler] = instances(samplers, samplers.Sampler)
TRAVERSALS: dict[str, traversals.Traversal] = instances(traversals, traversals.Traversal)


def statement(solver: Any) -> bool | None:
    """What the docstring of a solver, or of what it derives from or is made of, says of its network calls: whether they
    are differentiated. None where it says nothing of it."""
    for kind in type(solver).__mro__:
        text = " ".join((kind.__doc__ or "").split())
        if re.search(r"(not|never) differentiated|not through the network|No network call", text):
            return False
        if re.search(r"differentiated with respect to (its|their) input", text):
            return True
    return statement(solver.sampler) if hasattr(solver, "sampler") else None


class TrainablePrior(GaussianMixturePrior):
    """A Gaussian mixture with a parameter that would take a gradient, if anybody gave it one.

    differentiated: of every call so far, whether a gradient with respect to its input was to come. rows: their number.
    """

    def __init__(self) -> None:
        source = correlated_prior(2)
        super().__init__(
            source.mixture.means.view(2, *SHAPE), source.mixture.covariances()[0], source.mixture.weights[0]
        )
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self.differentiated: list[bool] = []
        self.rows: list[int] = []

    def denoise(self, x, t):
        return asked(self, x, super().denoise(x, t), t)


class TrainableLatentPrior(LinearLatentPrior):
    """The same in the latent space of a linear autoencoder."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self.differentiated: list[bool] = []
        self.rows: list[int] = []

    def denoise(self, x, t):
        return asked(self, x, super().denoise(x, t), t)

    def posterior(self, measurement):
        """Without noise, a y that no image of the decoder explains has none: that of a little noise."""
        return super().posterior(replace(measurement, noise_std=max(measurement.noise_std, 1e-3)))


def asked(prior: Any, x: torch.Tensor, denoised: Denoised, t: torch.Tensor) -> Denoised:
    """What a network with weights says, and a note of how it was asked."""
    assert not torch.is_inference_mode_enabled()
    prior.differentiated.append(x.requires_grad and torch.is_grad_enabled())
    prior.rows.append(len(x))
    return prior.from_x0(x, denoised.x0 * prior.scale.to(x), t)


class ForwardOnly(LinearOperator):
    """A user's operator: 2 x 2 mean pooling, without its singular values."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)


def chain(sampler: samplers.Sampler, measurement: Measurement, prior: Any, timesteps: list[int]) -> torch.Tensor:
    """What a chain of these timesteps makes of pure noise, in double precision.  -> [N, *sample_shape]."""
    zero = torch.zeros(len(measurement), *prior.sample_shape, dtype=torch.float64)
    start = Chain.renoised(zero, timesteps, measurement.streams, prior.schedule, sampler)
    ((x,), _) = run_chains([start], measurement, CountedPrior(prior))
    return x


class World(NamedTuple):
    """Where a solver is tried. images: n clean ones, float64. shape: of the samples of the prior."""

    prior: Callable[[], Any]
    images: Callable[[int], torch.Tensor]
    shape: tuple[int, int, int]

    def measure(self, n: int = 4, operator: Operator | None = None, noise_std: float = 0.2) -> Measurement:
        """n images, measured: 2 x 2 means by default."""
        return degrade(self.images(n), operator or SuperResolution(2), noise_std, [f"image {k}" for k in range(n)])

    def takes(self, solve: Callable[[World], torch.Tensor]) -> bool:
        """Whether a solver works here, or refuses in a sentence because it is of pixel models alone."""
        try:
            return bool(torch.isfinite(solve(self)).all())
        except ValueError as error:
            if "in the space in which the diffusion runs" not in str(error):
                raise
            return False


PIXEL = World(TrainablePrior, lambda n: draw(correlated_prior(2), n), SHAPE)
LATENT = World(TrainableLatentPrior, lambda n: latent_draws(LinearLatentPrior(0.5), n), Z_SHAPE)
WORLDS = {"pixel": PIXEL, "latent": LATENT}
measure = PIXEL.measure


def peeks(solve: Callable[[Measurement], Any], measurement: Measurement) -> list[tuple[Any, ...]]:
    """What a solver asks of the random numbers of the measurement's own noise and operator, of which it must ask
    nothing. y = A(x) + noise: a solver that redraws the noise learns more of x than the measurement holds."""
    asked: list[tuple[Any, ...]] = []

    class Watched(Streams):
        def at(self, *path: Any) -> Streams:
            asked.append(path)
            return super().at(*path)

    solve(replace(measurement, streams=Watched._from_keys(measurement.streams.keys, measurement.streams.ids)))
    return [path for path in asked if path[:1] in (("measurement",), ("operator",))]


def reachable(thing: Any) -> Iterator[torch.Tensor]:
    """Every tensor that can be reached from an object: through attributes, containers, methods and closures."""
    seen, todo = {}, [thing]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType)):
            continue
        seen[id(one)] = one
        if isinstance(one, torch.Tensor):
            yield one
        elif inspect.isroutine(one):
            todo += [getattr(one, "__self__", None)]
            todo += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
        else:
            todo += gc.get_referents(one)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-7) -> bool:
    """Equal up to rounding, NaN in the same places."""
    return torch.allclose(a, b, atol=tolerance, rtol=tolerance, equal_nan=True)
