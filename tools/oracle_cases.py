"""The cases of docs/oracle.md: analytic priors, tasks, and samplers and traversals with their settings.

A method is a traversal, rebuilt for every use; each of its levels is a line of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from rps.estimators import MapEstimator, PosteriorMean, ProximalMap, PseudoInverse, RedDiff
from rps.metrics import Gaussian
from rps.operators import AnisotropicBlur, Denoise, Inpaint, Operator, Shared, SuperResolution
from rps.oracle import Figure, Plane, Problem, rps_law, smooth_prior
from rps.priors import GaussianMixturePrior
from rps.records import level_name
from rps.restoration import Level
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
"""Changes of a figure below 4 times this are ignored: figures without noise have a standard error of 0."""

SAMPLERS: dict[str, tuple[Callable[[], Sampler], int]] = {
    "ExactPosterior": (ExactPosterior, 10),
    "PiGdm": (lambda: PiGdm(STD**2, clip=False), 100),
    "Dmps": (Dmps, 100),
    "DiffPir": (DiffPir, 100),
    "Ddnm": (Ddnm, 100),
    "Ddrm": (Ddrm, 20),
    "Daps": (lambda: Daps(tau=0.2, langevin_steps=10, step_size=1e-2), 10),
    "Dps": (Dps, 100),
    "Dps, xi = 1": (lambda: Dps(1.0), 100),
    "Dmap": (Dmap, 50),
    "Sitcom": (lambda: Sitcom(5), 20),
}
AFFINE = ("PiGdm", "Dmps", "DiffPir", "Ddnm", "Ddrm", "Daps")


def map_estimator() -> MapEstimator:
    return MapEstimator(num_steps=100, lr=0.05, t1=100, w_factor=1.0, prior_term="control_variate")


TRAVERSALS: dict[str, Callable[[], Traversal]] = {
    "MapRps, exact stages": lambda: MapRps([0, 100, 400], PosteriorMean(), ExactPosterior(), 10),
    "Interpolation, exact stages": lambda: Interpolation([0.25], PosteriorMean(), ExactPosterior(), steps=2),
    "MapRps": lambda: MapRps([0, 100, 400], map_estimator(), Dps(), 100),
    "Ccdf": lambda: Ccdf([100, 400], Dps(), 100),
    "VarianceScaling": lambda: VarianceScaling([0.5, 0.0], steps=100),
    "SampleAverage": lambda: SampleAverage([4], Dps(), steps=50),
    "StepNumber": lambda: StepNumber([25], sampler=Dps()),
    "Interpolation": lambda: Interpolation([0.25], map_estimator(), Dps(), steps=50),
    "ProximalMap": lambda: MapRps([0], ProximalMap(25, clip=False)),
    "ProximalMap, t1 50": lambda: MapRps([0], ProximalMap(25, t1=50, clip=False)),
    "PseudoInverse": lambda: MapRps([0], PseudoInverse()),
    "RedDiff": lambda: MapRps([0], RedDiff(lr=0.05, lam=0.25)),
}
METHODS: dict[str, Callable[[], Traversal]] = {
    **{name: lambda s=s, k=k: PosteriorSampling(s(), k) for name, (s, k) in SAMPLERS.items()},  # type: ignore[misc]
    **TRAVERSALS,
}

WHITE: dict[str, tuple[Callable[[], Traversal], tuple[str, ...]]] = {
    "PiGdm, right r^2": (lambda: PosteriorSampling(PiGdm(WHITE_STD**2, clip=False), 1000), FOUR),
    "Ddrm, eta 0": (lambda: PosteriorSampling(Ddrm(eta=0.0), 1000), ("sr2, no noise", "inpaint, no noise")),
}
"""Methods and tasks on independent pixels, where they are exact in the limit of many steps."""


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
        """Whether the law of its output is the posterior, in the limit of many steps."""
        return self.prior == "white" or self.method == "ExactPosterior"


WHITE_CASES = [Case("white", task, name) for name, (_, tasks) in WHITE.items() for task in tasks]


def cases() -> list[Case]:
    both = ("gaussian", "mixture")
    return WHITE_CASES + [Case(prior, task, name) for prior in both for task in FOUR for name in METHODS]


FULL, SMALL, OUTPUTS = 64, 16, 19
"""Measurements of the table and of the test; outputs for each. 19 outputs give exact regions of 50 and 90 %."""


@cache
def problem(prior: str, task: str, n: int, m: int) -> Problem:
    return Problem.of(PRIORS[prior](), *TASKS[task], n, m)


def judge(case: Case, n: int) -> dict[str, dict[str, Figure]]:
    """Line of the table -> figures: one line for a sampler, one per level for other traversals."""
    traversal = case.traversal()
    found = problem(case.prior, case.task, n, OUTPUTS).judge(traversal)
    one = isinstance(traversal, PosteriorSampling)
    names = {level: "" if one else f", {traversal.knob} {level_name(level)}" for level in found}
    return {case.method + names[level]: of for level, of in found.items()}


def law_cases() -> list[Case]:
    """The cases whose step is affine on a Gaussian prior, so that their output law can be propagated."""
    return WHITE_CASES + [Case("gaussian", task, name) for task in FOUR for name in AFFINE]


def propagated(case: Case, steps: int | None = None, images: int = 2) -> dict[str, float]:
    """`Problem.law_gaps` of one of the `law_cases`.  steps: None uses those of the method, at most 100."""
    traversal = case.traversal()
    assert isinstance(traversal, PosteriorSampling)
    return problem(case.prior, case.task, images, OUTPUTS).law_gaps(
        traversal.sampler, steps or min(int(traversal.levels[0]), 100)
    )


def law_changed(gaps: Mapping[str, float], recorded: Mapping[str, float]) -> dict[str, float]:
    """Gaps of a propagated law that differ from the recorded ones by more than 1 %: name -> new minus recorded."""
    differences = {name: value - recorded[name] for name, value in gaps.items()}
    return {name: x for name, x in differences.items() if not abs(x) <= max(0.01 * recorded[name], RESOLUTION)}


def wrong(case: Case, found: Mapping[str, Mapping[str, Figure]], recorded: Mapping[str, Any]) -> dict[str, float]:
    """Figures that deviate by more than 4 standard errors: "line: figure" -> deviation in standard errors.

    The expected gap is zero for exact samplers, and the recorded one, with the same number of outputs per measurement,
    for others.
    """
    far = {}
    for line, of in found.items():
        for name, figure in of.items():
            if case.exact:
                away = figure.off
            else:
                value, se = recorded[line][name]
                away = (figure.value - value) / max(math.hypot(figure.se, se), RESOLUTION)
            if not abs(away) <= 4:  # also true for NaN
                far[f"{line}: {name}"] = away
    return far


# The plane given y in docs/oracle.md and its figure.
T0 = [0, 30, 100, 200, 400, 1000]
Law = Callable[[Level, Tensor], Tensor]
"""Level, posterior covariance C -> covariance of the output given y, around the posterior mean; it commutes with C."""


@cache
def plane(n: int = 2048) -> Plane:
    return Plane(problem("gaussian", "sr2", n, 1))


def map_rps(t0: Level, c: Tensor) -> Tensor:
    """C (I - G^2), see `rps_law`; 0 at t0 = 0, where the output is the mean."""
    schedule, t = plane(1).problem.prior.schedule, int(t0) - 1
    return rps_law(Gaussian(c[0], c), schedule.alpha(t), schedule.sigma(t)).cov if t0 else 0 * c


EXACT: dict[str, tuple[Traversal, Law]] = {
    # (1 + w^2) Tr C at (1 - w) sqrt(Tr C): the optimal curve.
    "optimal interpolation": (
        Interpolation([0.0, 0.25, 0.5, 0.75, 1.0], PosteriorMean(), ExactPosterior(), steps=2), lambda w, c: w**2 * c,
    ),
    # The interpolation of weight 1 / sqrt M.
    "mean of exact samples": (SampleAverage([1, 2, 4, 16], ExactPosterior(), steps=2), lambda m, c: c / m),
    "MAP-RPS, exact stages": (MapRps(T0, PosteriorMean(), ExactPosterior(), 20), map_rps),
}  # fmt: skip
APPROXIMATE: dict[str, Callable[[], Traversal]] = {
    "MAP-RPS with MAP and DPS": lambda: MapRps([0, 50, 100, 400], map_estimator(), Dps(), 100),
    "mean of DPS samples": lambda: SampleAverage([1, 2, 4, 8], Dps(), steps=100),
    "VSDPS": lambda: VarianceScaling([1.0, 0.8, 0.5, 0.0], steps=100),
}
