"""What the tests of samplers, estimators and traversals share: who there is, and a small world to run them in."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import torch

from rps.estimators import MapEstimator
from rps.measurement import Measurement, degrade
from rps.operators import LinearOperator, Operator, SuperResolution
from rps.priors import GaussianMixturePrior
from tests.rps.gaussian import SHAPE, correlated_prior, draw

# Fewer steps than by default, so that a test takes a moment. Whoever is not named runs with its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "MapEstimator": {"num_steps": 4, "draws": 2},
    "RedDiff": {"num_steps": 4},
    "RmpEstimator": {"num_steps": 4},
    "DmapEstimator": {"num_steps": 4},
    "Daps": {"langevin_steps": 10},
    "Dcdp": {"inner_steps": 4},
    "LatentDaps": {"langevin_steps": 10},
    "ReSample": {"pixel_steps": 4, "latent_steps": 4},
    "Sitcom": {"inner_steps": 4},
    "MapRps": {"t0": [0, 100, 300], "estimator": MapEstimator(2), "steps": 10, "samples": 2},
    "Ccdf": {"t0": [0, 100, 300], "steps": 10},
    "VarianceScaling": {"steps": 4},
    "SampleAverage": {"levels": [1, 3], "steps": 4},
    "StepNumber": {"levels": [5, 2]},
    "PosteriorSampling": {"steps": 4},
    "Interpolation": {"estimator": MapEstimator(2), "steps": 4},
}


def exported(package: ModuleType, base: type) -> dict[str, Any]:
    """Every subclass of `base` in the package's __all__ that can be built without arguments, built: name -> object."""
    found = {}
    for name in package.__all__:
        kind = getattr(package, name)
        if not (isinstance(kind, type) and issubclass(kind, base)) or kind is base:
            continue
        needed = [p for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
        if not needed:
            found[name] = kind(**SMALL.get(name, {}))
    return found


class TrainablePrior(GaussianMixturePrior):
    """A Gaussian mixture with a parameter that would take a gradient, if anybody gave it one."""

    def __init__(self) -> None:
        source = correlated_prior(2)
        super().__init__(
            source.mixture.means.view(2, *SHAPE), source.mixture.covariances()[0], source.mixture.weights[0]
        )
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def denoise(self, x, t):
        assert not torch.is_inference_mode_enabled()
        denoised = super().denoise(x, t)
        return self.from_x0(x, denoised.x0 * self.scale.to(x), t)


class ForwardOnly(LinearOperator):
    """A user's operator: 2 x 2 mean pooling, without its singular values."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)


def measure(n: int = 4, operator: Operator | None = None, noise_std: float = 0.2) -> Measurement:
    """n images of the two-component mixture, measured, in float64."""
    return degrade(
        draw(correlated_prior(2), n), operator or SuperResolution(2), noise_std, [f"image {k}" for k in range(n)]
    )


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-7) -> bool:
    """Equal up to rounding, NaN in the same places."""
    return torch.allclose(a, b, atol=tolerance, rtol=tolerance, equal_nan=True)
