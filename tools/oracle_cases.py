"""What docs/oracle.md judges: analytic priors, tasks, and samplers and traversals with their settings.

A method is a traversal, built anew for every use; each of its levels is a line of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rps.estimators import Estimator, MapEstimator, PosteriorMean, PseudoInverse, RedDiff
from rps.measurement import Measurement, degrade
from rps.metrics import Gaussian, frechet_distance
from rps.operators import AnisotropicBlur, Denoise, Inpaint, Operator, Shared, SuperResolution
from rps.oracle.gaussian import propagate_affine
from rps.oracle.measures import Figure, exact_samples, figures, measures, outputs
from rps.oracle.worlds import draw, smooth_prior
from rps.priors.analytic.gaussian_mixture import GaussianMixture, GaussianMixturePrior
from rps.records import level_name
from rps.samplers import Daps, Ddnm, Ddrm, DiffPir, Dmap, Dmps, Dps, ExactPosterior, PiGdm, Sampler, Sitcom
from rps.traversals import (
    Ccdf,
    Interpolation,
    MapRps,
    PosteriorSampling,
    SampleAverage,
    StepNumber,
    Traversal,
    VarianceScaling,
)

STD, WHITE_STD = 0.35, 0.5
PRIORS: dict[str, Callable[[], GaussianMixturePrior]] = {
    "gaussian": lambda: smooth_prior(std=STD),
    "mixture": lambda: smooth_prior(components=2, std=STD),
    "white": lambda: smooth_prior(std=WHITE_STD, length=0.0),
}
TASKS: dict[str, tuple[Operator, float]] = {
    "denoise": (Denoise(), 0.3),
    "sr2": (SuperResolution(2), 0.2),
    "inpaint": (Shared(Inpaint(0.5)), 0.2),
    "blur": (AnisotropicBlur(3, 1.0, 2.0), 0.1),
    "sr2, no noise": (SuperResolution(2), 0.0),
    "inpaint, no noise": (Shared(Inpaint(0.5)), 0.0),
}
FOUR = ("denoise", "sr2", "inpaint", "blur")
RESOLUTION = 1e-3
"""Changes of a figure below 4 times this are nobody's concern: figures without noise have a standard error of 0."""

TINY = 1e-4
"""Without noise the posterior is the limit of a vanishing one: of this noise_std."""

SAMPLERS: dict[str, tuple[Callable[[], Sampler], int]] = {
    "ExactPosterior": (ExactPosterior, 10),
    "PiGdm": (lambda: PiGdm(STD**2, clip=False), 100),
    "Dmps": (Dmps, 100),
    "DiffPir": (DiffPir, 100),
    "Ddnm": (Ddnm, 100),
    "Ddrm": (Ddrm, 20),
    "Daps": (lambda: Daps(tau=0.2, langevin_steps=10, step_size=1e-2), 10),
    "Dps": (Dps, 100),
    "Dmap": (Dmap, 50),
    "Sitcom": (lambda: Sitcom(5), 20),
}
AFFINE = ("PiGdm", "Dmps", "DiffPir", "Ddnm", "Ddrm", "Daps")


def map_estimator() -> MapEstimator:
    return MapEstimator(num_steps=100, lr=0.05, t1=100, w_factor=1.0, prior_term="control_variate")


def point(estimator: Estimator) -> MapRps:
    """An estimate by itself."""
    return MapRps([0], estimator)


TRAVERSALS: dict[str, Callable[[], Traversal]] = {
    "MapRps, exact stages": lambda: MapRps([0, 100, 400], PosteriorMean(), ExactPosterior(), 10),
    "Interpolation, exact stages": lambda: Interpolation([0.25], PosteriorMean(), ExactPosterior(), steps=2),
    "MapRps": lambda: MapRps([0, 100, 400], map_estimator(), Dps(), 100),
    "Ccdf": lambda: Ccdf([100, 400], Dps(), 100),
    "VarianceScaling": lambda: VarianceScaling([0.5, 0.0], 1.0, steps=100),
    "SampleAverage": lambda: SampleAverage([4], Dps(), steps=50),
    "StepNumber": lambda: StepNumber([25], sampler=Dps()),
    "Interpolation": lambda: Interpolation([0.25], map_estimator(), Dps(), steps=50),
    "PseudoInverse": lambda: point(PseudoInverse()),
    "RedDiff": lambda: point(RedDiff(lr=0.05)),
}
METHODS: dict[str, Callable[[], Traversal]] = {
    **{name: lambda s=s, k=k: PosteriorSampling(s(), k) for name, (s, k) in SAMPLERS.items()},  # type: ignore[misc]
    **TRAVERSALS,
}

WHITE: dict[str, tuple[Callable[[], Traversal], tuple[str, ...]]] = {
    "PiGdm, right r^2": (lambda: PosteriorSampling(PiGdm(WHITE_STD**2, clip=False), 1000), FOUR),
    "Ddrm, eta 0": (lambda: PosteriorSampling(Ddrm(eta=0.0), 1000), ("sr2, no noise", "inpaint, no noise")),
}
"""On independent pixels, where these are exact in the limit of many steps."""


@dataclass(frozen=True)
class Case:
    """One method on one task with one prior."""

    prior: str
    task: str
    method: str

    def traversal(self) -> Traversal:
        return WHITE[self.method][0]() if self.prior == "white" else METHODS[self.method]()

    def __str__(self) -> str:
        return f"{self.prior}/{self.task}/{self.method}"

    @property
    def exact(self) -> bool:
        """Has its output the law of the posterior, in the limit?"""
        return self.prior == "white" or self.method == "ExactPosterior"


def cases() -> list[Case]:
    found = [Case("white", task, name) for name, (_, tasks) in WHITE.items() for task in tasks]
    return [
        *found,
        *(Case(prior, task, name) for prior in ("gaussian", "mixture") for task in FOUR for name in METHODS),
    ]


FULL, SMALL, OUTPUTS = 64, 16, 19
"""Measurements of the table and of the test; outputs for each. 19 outputs bound regions of 50 and 90 % exactly."""


@dataclass(frozen=True)
class Problem:
    """n measurements of images of a prior, with their exact posteriors and exact samples of these."""

    prior: GaussianMixturePrior
    truth: Tensor
    measurement: Measurement
    posterior: GaussianMixture
    exact: tuple[Tensor, Tensor]


@cache
def problem(prior: str, task: str, n: int, m: int, seed: int = 0) -> Problem:
    """The first n images, ids "0" .. "n-1": a smaller n has the same ones."""
    world, (operator, noise_std) = PRIORS[prior](), TASKS[task]
    ids = [str(i) for i in range(n)]
    images = draw(world, ids, seed)
    measurement = degrade(images, operator, noise_std, ids, seed)
    posterior = world.posterior(replace(measurement, noise_std=max(noise_std, TINY)))
    first, second = (exact_samples(posterior, measurement.streams.at("oracle", k), m) for k in range(2))
    return Problem(world, images.flatten(1), measurement, posterior, (first, second))


def judge(case: Case, n: int, m: int = OUTPUTS, seed: int = 0) -> dict[str, dict[str, Figure]]:
    """Line of the table -> figures: one of a sampler, one for each level of another traversal."""
    p, traversal = problem(case.prior, case.task, n, m, seed), case.traversal()
    found = {}
    for level, x in outputs(traversal, p.measurement, p.prior, m).items():
        name = "" if isinstance(traversal, PosteriorSampling) else f", {traversal.knob} {level_name(level)}"
        found[case.method + name] = figures(measures(x, p.truth, p.posterior, p.exact))
    return found


def law_cases() -> list[Case]:
    """Those whose step is affine on a Gaussian prior, so that their output law can be propagated."""
    found = [Case("white", task, name) for name, (_, tasks) in WHITE.items() for task in tasks]
    return [*found, *(Case("gaussian", task, name) for task in FOUR for name in AFFINE)]


def propagated(case: Case, steps: int | None = None, images: int = 2) -> dict[str, float]:
    """The gaps of one of the `law_cases` from its exact output law, without any error of sampling: the root mean square
    over the first few images.

    steps: those of the method when None, but 100 where they are 1000. mean, covariance: as in the figures. w2:
    Wasserstein-2 to the posterior, over sqrt(Tr C*).
    """
    p, traversal = problem(case.prior, case.task, images, OUTPUTS), case.traversal()
    assert isinstance(traversal, PosteriorSampling)
    schedule, d = p.prior.schedule, p.truth.shape[1]
    timesteps = traversal.sampler.timesteps(schedule, len(schedule), steps or min(int(traversal.levels[0]), 100))
    eye = torch.eye(d, dtype=torch.float64)
    start = Gaussian(0 * eye[0], schedule.sigma(timesteps[0]) ** 2 * eye)
    squares = []
    for i in range(images):
        exact = Gaussian(p.posterior.mean()[i], p.posterior.covariance().expand(images, -1, -1)[i])
        law = propagate_affine(traversal.sampler, p.measurement.rows(slice(i, i + 1)), p.prior, timesteps, start)
        trace, difference = exact.cov.trace(), law.cov - exact.cov
        mean = (law.mean - exact.mean).square().sum() / trace
        covariance = difference.square().sum() / exact.cov.square().sum()
        squares.append([mean, covariance, frechet_distance(law, exact) / trace])
    return dict(zip(("mean", "covariance", "w2"), torch.tensor(squares).mean(0).sqrt().tolist(), strict=True))


def law_changed(gaps: Mapping[str, float], recorded: Mapping[str, float]) -> dict[str, float]:
    """Gaps of a propagated law that differ from the recorded ones by more than 1 %: name -> new minus recorded."""
    differences = {name: value - recorded[name] for name, value in gaps.items()}
    return {name: x for name, x in differences.items() if not abs(x) <= max(0.01 * recorded[name], RESOLUTION)}


def wrong(case: Case, found: Mapping[str, Mapping[str, Figure]], recorded: Mapping[str, Any]) -> dict[str, float]:
    """What is more than 4 standard errors away from where it belongs: "line: figure" -> by how many.

    A sampler that is exact belongs at zero; the gaps of the others belong where they were recorded, with as many
    outputs for each measurement.
    """
    far = {}
    for line, of in found.items():
        for name, figure in of.items():
            if case.exact:
                away = figure.off
            else:
                value, se = recorded[line][name]
                away = (figure.value - value) / max(math.hypot(figure.se, se), RESOLUTION)
            if not abs(away) <= 4:  # NaN is away
                far[f"{line}: {name}"] = away
    return far
