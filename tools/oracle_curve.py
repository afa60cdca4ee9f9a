"""The distortion-perception plane given y, on a Gaussian prior: what is known of it, and where traversals lie.

Distortion is E||x - X||^2. Perception is the Gelbrich distance between the laws of X - E[x|y] and x - E[x|y]: for an X
that is Gaussian given y, with a covariance that does not depend on y, this is W2 to the posterior. No X lies below
D(P) = Tr C + (sqrt(Tr C) - P)^2: Gelbrich's distance obeys the triangle inequality, whatever the law of X.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from oracle_cases import map_estimator, problem
from torch import Tensor

from rps.estimators import PosteriorMean
from rps.metrics.frechet import Gaussian, Statistics, frechet_distance
from rps.metrics.intervals import Estimate, frechet_draws, means
from rps.oracle.gaussian import distortion, root, rps_law
from rps.oracle.measures import outputs
from rps.records import level_name
from rps.report.curve import BLUE, GREY, INK, ORANGE
from rps.restoration import Level
from rps.samplers import Dps, ExactPosterior
from rps.traversals import Interpolation, MapRps, SampleAverage, Traversal, VarianceScaling

PRIOR, TASK, IMAGES = "gaussian", "sr2", 2048
STEPS = 100
T0 = [0, 30, 100, 200, 400, 1000]

Law = Callable[[Level, Tensor], Tensor]
"""Level, posterior covariance C -> covariance of the output given y, around the posterior mean; it commutes with C."""


def interpolated(weight: Level, c: Tensor) -> Tensor:
    """N(mu, w^2 C): ((1 + w^2) Tr C, (1 - w) sqrt(Tr C)), the optimal curve."""
    return weight**2 * c


def averaged(samples: Level, c: Tensor) -> Tensor:
    """The mean of M samples, N(mu, C / M): the interpolation of weight 1 / sqrt M."""
    return c / samples


def map_rps(t0: Level, c: Tensor) -> Tensor:
    """N(mu, C (I - G^2)), see `rps_law`; the mean itself at t0 = 0."""
    if t0 == 0:
        return 0 * c
    schedule = problem(PRIOR, TASK, 1, 1).prior.schedule
    return rps_law(Gaussian(c[0], c), schedule.alpha(int(t0) - 1), schedule.sigma(int(t0) - 1)).cov


EXACT: dict[str, tuple[Traversal, Law]] = {
    "optimal interpolation": (
        Interpolation([0.0, 0.25, 0.5, 0.75, 1.0], PosteriorMean(), ExactPosterior(), steps=2), interpolated,
    ),
    "mean of exact samples": (SampleAverage([1, 2, 4, 16], ExactPosterior(), steps=2), averaged),
    "MAP-RPS, exact stages": (MapRps(T0, PosteriorMean(), ExactPosterior(), 20), map_rps),
}  # fmt: skip
APPROXIMATE: dict[str, Callable[[], Traversal]] = {
    "MAP-RPS with MAP and DPS": lambda: MapRps([0, 50, 100, 400], map_estimator(), Dps(), STEPS),
    "mean of DPS samples": lambda: SampleAverage([1, 2, 4, 8], Dps(), steps=STEPS),
    "VSDPS": lambda: VarianceScaling([1.0, 0.8, 0.5, 0.0], 1.0, steps=STEPS),
}


class Point(NamedTuple):
    """A level of n outputs: E||x - X||^2, and the squared distance between the laws of X - E[x|y] and x - E[x|y]."""

    level: Level
    n: int
    mse: Estimate
    w2_squared: Estimate


def posterior_covariance() -> Tensor:
    """C, which is the same for every y.  -> [D, D]."""
    return problem(PRIOR, TASK, 1, 1).posterior.covariance()[0]


def points(traversal: Traversal, n: int) -> list[Point]:
    """One output for each of n measurements."""
    p, found = problem(PRIOR, TASK, n, 1), []
    centre = p.posterior.mean()
    law = Statistics(torch.zeros_like(centre[0]), posterior_covariance(), n, "the exact posterior")
    for level, x in outputs(traversal, p.measurement, p.prior, 1).items():
        (mse,) = means((p.truth - x[:, 0]).square().sum(1, keepdim=True))
        found.append(Point(level, n, mse, frechet_draws(x[:, 0] - centre, law).estimate()))
    return found


def known(s: Tensor, c: Tensor, n: int) -> tuple[float, float]:
    """(MSE, W2^2 as n outputs show it) of outputs N(mu, S): Tr C + Tr S, and W2^2(S, C) + W, W its bias.

    To the second order W = (Tr S + sum_ij (1 + [i = j]) q_i q_j / (q_i + q_j) / 2) / n, q^2 the eigenvalues of S C.
    """
    half = root(c)
    q = torch.linalg.eigvalsh(half @ s @ half).clamp(min=0).sqrt()
    pairs = torch.outer(q, q) / (q.unsqueeze(0) + q.unsqueeze(1)).clamp(min=1e-12) * (1 + torch.eye(len(q)))
    zero = torch.zeros_like(c[0])
    bias = float(s.trace() + pairs.sum() / 2) / n
    return float(c.trace() + s.trace()), frechet_distance(Gaussian(zero, s), Gaussian(zero, c)) + bias


def away(point: Point, law: Law) -> tuple[float, float]:
    """(MSE, W2^2) minus what is known of them, in standard errors."""
    c = posterior_covariance()
    mse, w2_squared = known(law(point.level, c), c, point.n)
    # The mean itself, S = 0, has a distance without any error.
    return (point.mse.value - mse) / point.mse.se, (point.w2_squared.value - w2_squared) / max(
        point.w2_squared.se, 1e-6
    )


def bound(w2: Tensor) -> Tensor:
    """D(P) given y."""
    total = float(posterior_covariance().trace())
    return distortion(w2, total, total**0.5)


def below(point: Point) -> float:
    """By how many standard errors a point lies below the bound; negative above it. The bias of the distance is taken
    for that of an exact sampler, which is the largest where outputs spread less than the posterior."""
    c = posterior_covariance()
    farthest = float(c.trace()) ** 0.5
    w2 = max(point.w2_squared.value - known(c, c, point.n)[1], 0.0) ** 0.5
    slope = (farthest - w2) / max(w2, point.w2_squared.se**0.5)  # of D(P) in P^2
    se = (point.mse.se**2 + (slope * point.w2_squared.se) ** 2) ** 0.5
    return (float(bound(torch.tensor(w2))) - point.mse.value) / se


def plot(found: dict[str, list[Point]], path: Path) -> None:
    """The closed-form curve and line of MAP-RPS, the two exact points, and all that was measured."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    c = posterior_covariance()
    total = float(c.trace())
    figure = Figure(figsize=(6.4, 4.6), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    w2 = torch.linspace(0, total**0.5, 200, dtype=torch.float64)
    axes.plot(bound(w2), w2, color=INK, linewidth=1.4, label="optimal curve D(P), closed form", zorder=2)
    line = torch.tensor([known(map_rps(t0, c), c, 10**9) for t0 in range(0, 1001, 5)])
    axes.plot(
        line[:, 0], line[:, 1].clamp(min=0).sqrt(), color=ORANGE, linewidth=1.2, label="MAP-RPS, closed form", zorder=2
    )
    axes.plot([total], [total**0.5], "*", color=INK, markersize=11, label="exact MMSE point", zorder=5)
    axes.plot([2 * total], [0], "P", color=INK, markersize=8, label="exact posterior sample", zorder=5)
    styles = zip(found.items(), "os^Dv<", (BLUE, "#56B4E9", ORANGE, "#009E73", "#CC79A7", GREY), strict=True)
    for (name, line_points), marker, color in styles:
        xs = [p.mse.value for p in line_points]
        ys = [max(p.w2_squared.value, 0.0) ** 0.5 for p in line_points]
        dashes = "" if name in EXACT else ":"
        axes.errorbar(
            xs, ys, xerr=[p.mse.se for p in line_points], fmt=marker + dashes, color=color, markersize=4.5,
            linewidth=0.9, label=f"{name} ({', '.join(level_name(p.level) for p in line_points)})", zorder=3,
        )  # fmt: skip
    axes.set_xlabel("distortion: $E\\,||x - X||^2$")
    axes.set_ylabel("perception given y: $W_2$ to the posterior")
    axes.grid(color="#E6E6E6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(fontsize=6.5, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
