"""Uncertainties of figures: bootstrap over samples, with a fixed seed.

A resample draws n of the n samples with replacement, and sample i has the weight w_i = 1 + sqrt(n / (n - 1)) (c_i - 1),
c_i the times that it was drawn. The standard deviation of a weighted mean over resamples is then the unbiased standard
error of the mean, s / sqrt(n), also for few samples. The same n gives the same weights, so figures of the same samples
in the same order are resampled together, and differences between them are paired.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rps.metrics.frechet import Statistics
from rps.metrics.significance import LARGE, threshold

RESAMPLES, SEED = 1000, 0
FRECHET_RESAMPLES, FEWEST, STEP = 200, 32, 0.1


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error and its 95 % interval; NaN if n is too small."""

    value: float
    se: float
    low: float
    high: float

    def entry(self, name: str = "value") -> dict[str, Any]:
        """As in metrics.json, with the figure under this name."""
        return {name: self.value, "se": self.se, "ci95": [self.low, self.high]}


def estimate(value: float, draws: Tensor, n: int) -> Estimate:
    """se = std(draws); interval = value + t / 1.96 times the 2.5 % and 97.5 % points of (draws - mean(draws)).

    t is the 97.5 % point of Student's distribution with n - 1 degrees of freedom: without it, intervals of means of 4
    values cover it in 79 % of cases. draws: [B], the figure on B resamples of n samples.
    """
    finite = draws[draws.isfinite()].double()
    if len(finite) < 2 or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, math.nan)
    points = torch.quantile(finite - finite.mean(), torch.tensor([0.025, 0.975], dtype=torch.float64))
    low, high = (value + threshold(n) / threshold(LARGE) * points).tolist()
    return Estimate(value, float(finite.std()), low, high)


def weights(n: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[Tensor]:
    """Yields w, float64 [b, n], each row summing to n, in pieces of a few million entries; `resamples` rows."""
    generator = np.random.default_rng(seed)
    rows = max(1, min(resamples, 4_000_000 // max(n, 1)))
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        indices = generator.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        drawn = torch.from_numpy(np.bincount(indices.ravel(), minlength=b * n).reshape(b, n)).double()
        yield 1 + math.sqrt(n / max(n - 1, 1)) * (drawn - 1)


def means(values: Tensor, resamples: int = RESAMPLES, seed: int = SEED) -> list[Estimate]:
    """The mean of each column.  values: [n, K] -> K estimates. NaN for n = 0, no standard error for n = 1."""
    values = values.double()
    n = len(values)
    if n < 2:
        return [Estimate(float(v), math.nan, math.nan, math.nan) for v in values.mean(0)]
    draws = torch.cat([w @ values / n for w in weights(n, resamples, seed)])
    return [estimate(float(v), d, n) for v, d in zip(values.mean(0), draws.mT, strict=True)]


@dataclass(frozen=True)
class Draws:
    """A figure and its values on resamples.  value; draws: [B], with weights 1 + STEP (w - 1); n: number of samples."""

    value: float
    draws: Tensor
    n: int

    def estimate(self) -> Estimate:
        return estimate(self.value, self.value + (self.draws - self.value) / STEP, self.n)

    def minus(self, other: Draws) -> Draws:
        """The difference, paired if both are of the same samples in the same order."""
        return Draws(self.value - other.value, self.draws - other.draws, self.n)


def mean_draws(values: Tensor, resamples: int = FRECHET_RESAMPLES, seed: int = SEED) -> Draws:
    """The mean of n >= 2 values as Draws, resampled together with distances of the same images.  values: [n]."""
    values = values.double()
    mean, n = values.mean(), len(values)
    weighted = torch.cat([(1 + STEP * (w - 1)) @ values / n for w in weights(n, resamples, seed)])
    return Draws(float(mean), weighted, n)


@dataclass(frozen=True)
class FrechetDraws(Draws):
    """A Frechet distance and its values on resamples."""

    @property
    def root(self) -> FrechetDraws:
        """The square root, which the distortion-perception plane shows."""
        return FrechetDraws(math.sqrt(self.value), self.draws.clamp(min=0).sqrt(), self.n)


def frechet_draws(
    features: Tensor, reference: Statistics | Tensor, resamples: int | None = None, seed: int = SEED
) -> FrechetDraws:
    """The Frechet distance of features to a reference, and its values on resamples of the samples.

    Samples get the weights 1 + STEP (w - 1), and deviations are divided by STEP; for a mean this equals the bootstrap.
    A Frechet distance is far from linear in the weights unless n is many times D: the plain bootstrap, with only 63 %
    of the samples in a resample, gives 3 times the true standard error at n = D = 64, this one 1.2 times.

    features: [n, D]. reference: fixed statistics; or the features [n, D] of the n clean images, which are then
    resampled together with their restorations.
    resamples: None is 200, or fewer (at least 32) if min(n, D) > 256.

    With F the centred features over sqrt(n - 1), C = F^T F, and R R^T the reference covariance, tr (C C_ref)^(1/2) is
    the sum of the singular values of F R. That product has rank k <= min(n, D), so it is first written in k
    coordinates, and a resample costs an eigenvalue problem of size k.
    """
    x = features.detach().cpu().double()
    n, d = x.shape
    if n < 2:
        return FrechetDraws(math.nan, torch.empty(0, dtype=torch.float64), n)
    if resamples is None:
        resamples = int(min(FRECHET_RESAMPLES, max(FEWEST, FRECHET_RESAMPLES * (256 / max(min(n, d), 1)) ** 3)))
    origin = x.mean(0)
    x = x - origin
    problem = (
        _Fixed(x, reference.mean - origin, reference.root)
        if isinstance(reference, Statistics)
        else _Paired(x, reference.detach().cpu().double() - origin)
    )
    value = max(0.0, float(problem.distances(torch.ones(1, n, dtype=torch.float64), exact=True)))
    # Pieces bound the memory: a resample needs a few matrices of the size of the problem.
    rows = max(1, 30_000_000 // problem.size)
    draws = [problem.distances(1 + STEP * (w - 1)) for some in weights(n, resamples, seed) for w in some.split(rows)]
    return FrechetDraws(value, torch.cat(draws), n)


class _Fixed:
    """Distances of x [n, D] from a fixed mean [D] and R [D, D]."""

    def __init__(self, x: Tensor, mean: Tensor, root: Tensor) -> None:
        self.x, self.mean = x, mean
        self.trace = root.square().sum()
        product = x @ root
        # L L^T = product product^T with as few columns as possible: rotating the rows changes no singular value.
        self.product = torch.linalg.qr(product.mT).R.mT if product.shape[0] < product.shape[1] else product
        self.size = self.product.numel() + self.product.shape[1] ** 2

    def distances(self, weighting: Tensor, exact: bool = False) -> Tensor:
        mean, trace = _moments(self.x, weighting)
        cross = _singular_sum(_centred(self.product, weighting), exact)
        return (mean - self.mean).square().sum(1) + trace + self.trace - 2 * cross


class _Paired:
    """Distances of x [n, D] from a reference [n, D], rows resampled together."""

    def __init__(self, x: Tensor, reference: Tensor) -> None:
        n, d = x.shape
        if reference.shape != x.shape:
            raise ValueError(f"the features of the clean images must be [{n}, {d}] too, got {tuple(reference.shape)}")
        if 2 * n < d:  # both sets lie in a subspace of 2 n dimensions
            both = torch.linalg.qr(torch.cat([x, reference]).mT).R.mT
            x, reference = both[:n], both[n:]
        self.x, self.reference = x, reference
        self.size = 4 * x.numel() + min(n, d) ** 2

    def distances(self, weighting: Tensor, exact: bool = False) -> Tensor:
        (mean_x, trace_x), (mean_r, trace_r) = _moments(self.x, weighting), _moments(self.reference, weighting)
        f, g = _centred(self.x, weighting), _centred(self.reference, weighting)
        if f.shape[1] <= f.shape[2]:
            cross = f @ g.mT
        else:
            values, vectors = torch.linalg.eigh(g.mT @ g)
            cross = f @ (vectors * values.clamp(min=0).sqrt().unsqueeze(1))
        return (mean_x - mean_r).square().sum(1) + trace_x + trace_r - 2 * _singular_sum(cross, exact)


def _moments(x: Tensor, weighting: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [B, D] and trace of the covariance [B] of every weighting."""
    n = len(x)
    mean = weighting @ x / n
    return mean, (weighting @ x.square().sum(1) - n * mean.square().sum(1)) / (n - 1)


def _centred(x: Tensor, weighting: Tensor) -> Tensor:
    """sqrt(w_i / (n - 1)) (x_i - mean) for every weighting.  -> [B, n, D]."""
    mean = (weighting @ x / len(x)).unsqueeze(1)
    return (weighting / (len(x) - 1)).sqrt().unsqueeze(2) * (x - mean)


def _singular_sum(matrices: Tensor, exact: bool) -> Tensor:
    """Sum of the singular values of each matrix; unless exact, from the smaller Gram matrix (faster, to 1e-8)."""
    if exact:
        return torch.linalg.svdvals(matrices).sum(-1)
    wide = matrices.shape[-2] < matrices.shape[-1]
    gram = matrices @ matrices.mT if wide else matrices.mT @ matrices
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum(-1)
