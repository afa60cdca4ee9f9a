"""Measures of posterior samplers against the exact p(x | y).

A method runs M times on each of n measurements, each time with other random numbers. `measures` gives numbers per
measurement; `figures` gives their means with standard errors, next to the values expected from the exact law at these n
and M.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.metrics.intervals import estimate, weights
from rps.priors.analytic.mixture import Mixture
from rps.priors.base import Prior
from rps.randomness import Streams
from rps.restoration import Level
from rps.traversals.base import Traversal

LEVELS = (0.5, 0.9)
"""Probabilities of the regions of highest posterior density whose coverage is measured."""

PROJECTIONS, SEED = 32, 0

NARROW = 1e-3
"""Smallest standard deviation of a pixel, in [-1, 1] units, used as a unit: an eighth of an 8-bit step."""


class Figure(NamedTuple):
    """A figure of a method and its standard error.

    zero: expected value for a sampler with the exact law. se_off: standard error of value - zero, which differs from se
    if zero is measured too, on the same images.
    """

    value: float
    se: float
    zero: float
    se_off: float

    @property
    def off(self) -> float:
        """(value - zero) in standard errors."""
        return (self.value - self.zero) / max(self.se_off, 1e-12)


def repeat(measurement: Measurement, m: int) -> Measurement:
    """Each measurement m times, with independent random numbers for the solver.  -> m N rows, k N + i."""
    rows = torch.arange(len(measurement), device=measurement.y.device).repeat(m)
    streams = Streams.cat([measurement.streams.at("repeat", k) for k in range(m)])
    return replace(measurement.rows(rows), streams=streams)


def outputs(traversal: Traversal, measurement: Measurement, prior: Prior, m: int) -> dict[Level, Tensor]:
    """m independent outputs of every level for each measurement.  -> level -> [N, m, D] float64."""
    images = traversal.run(repeat(measurement, m), prior).images
    n = len(measurement)
    return {level: x.detach().double().view(m, n, -1).transpose(0, 1) for level, x in images.items()}


def exact_sample(law: Mixture, streams: Streams) -> Tensor:
    """One draw for each stream; a law of one row stands for all.  -> [N, D]."""
    normal = streams.at("x").normal((law.noises,)).to(law.means)
    return law.sample(streams.at("component").uniform((1,)).to(law.means), normal)


def exact_samples(posterior: Mixture, streams: Streams, m: int) -> Tensor:
    """m draws of each of the N posteriors.  streams: N rows -> [N, m, D]."""
    return torch.stack([exact_sample(posterior, streams.at("exact", k)) for k in range(m)], dim=1)


def sliced_w2(a: Tensor, b: Tensor, projections: int = PROJECTIONS, seed: int = SEED) -> Tensor:
    """Mean over unit vectors v of W2^2 between {v x : x in a} and {v x : x in b}, from sorted projections.

    a, b: [N, M, D], equally many -> [N], in squared units of x. The vectors are the same for every row.
    """
    v = torch.randn(a.shape[-1], projections, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v = (v / v.norm(dim=0)).to(a)
    return ((a @ v).sort(dim=1).values - (b @ v).sort(dim=1).values).square().mean((1, 2))


def measures(x: Tensor, truth: Tensor, posterior: Mixture, exact: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Numbers per measurement, [N], from M outputs x [N, M, D] for the images truth [N, D].

    With m, C of the outputs (C unbiased), m*, C* of the posterior, and the expectation under the exact law in brackets:
        mmse           ||truth - m*||^2                                              [Tr C*]
        single         ||truth - x||^2, mean over the outputs                        [mmse + Tr C*]
        averaged       ||truth - m||^2 - Tr C / M                                    [mmse]
        mean           ||m - m*||^2 / Tr C*                                          [1 / M]
        covariance     ||C - C*||_F^2 / ||C*||_F^2                                   [see covariance_noise]
        covers_a       1 if log p(truth | y) is at least the j-th smallest of log p(x | y),
                       j = (1 - a) (M + 1), an unbiased quantile                     [a]
        sliced         sliced W2^2 to M exact draws, over Tr C* / D                  [sliced_zero]
        sliced_zero    the same for M other exact draws
    M = 1 has no averaged and no covariance; covers_a needs (1 - a) (M + 1) >= 1, and a density, which a posterior over
    single images lacks. If the posterior is narrower than NARROW per pixel, NARROW is the unit of errors. A
    deterministic method gives M equal outputs, whose error is single.

    exact: two sets of exact draws [N, M, D], see `exact_samples`.
    """
    m, d = x.shape[1:]
    mean, trace = posterior.mean(), posterior.trace()
    least, square = trace.clamp(min=NARROW**2 * d), posterior.covariance_square()
    size = square.clamp(min=NARROW**4 * d)
    average = x.mean(1)
    centred = x - average.unsqueeze(1)
    found = {
        "mmse": (truth - mean).square().sum(1),
        "single": (truth.unsqueeze(1) - x).square().sum(2).mean(1),
        "mean": (average - mean).square().sum(1) / least,
        "mean_zero": (trace / least / m).expand(len(x)),
    }
    if m > 1:
        variance = centred.square().sum((1, 2)) / (m - 1)
        found["averaged"] = (truth - average).square().sum(1) - variance / m
        # ||C - C*||^2 = ||C||^2 - 2 <C, C*> + ||C*||^2, without any D x D matrix.
        own = (centred @ centred.mT).square().sum((1, 2)) / (m - 1) ** 2
        both = (centred.mT * posterior.covariance_times(centred.mT)).sum((1, 2)) / (m - 1)
        found["covariance"] = (own - 2 * both + square).clamp(min=0) / size
        found["covariance_zero"] = (covariance_noise(posterior, m) / size).expand(len(x))
    here, there = posterior.log_density(truth), posterior.log_density(x).sort(dim=1).values
    for level in LEVELS if posterior.noises else ():
        j = (1 - level) * (m + 1)
        if j > 0.999:
            found[f"covers_{level:.0%}"] = (here >= there[:, round(j) - 1]).double()
    found["sliced"] = sliced_w2(x, exact[0]) / (least / d)
    found["sliced_zero"] = sliced_w2(exact[1], exact[0]) / (least / d)
    found["trace"] = trace.expand(len(x))
    return found


def covariance_noise(posterior: Mixture, m: int) -> Tensor:
    """E||C - C*||_F^2 for the unbiased covariance C of m exact draws: (E|z|^4 - (m - 2)/(m - 1) ||C*||_F^2 +
    (Tr C*)^2 / (m - 1)) / m, z = x - m*; ((Tr C*)^2 + ||C*||_F^2) / (m - 1) for one Gaussian.  -> [N].
    """
    square, trace = posterior.covariance_square(), posterior.trace()
    return (posterior.fourth() - (m - 2) / (m - 1) * square + trace**2 / (m - 1)) / m


def figures(values: Mapping[str, Tensor]) -> dict[str, Figure]:
    """Summarises the numbers of n measurements, with bootstrap standard errors over the measurements.

    values: from `measures`, for all measurements.
        single dB      10 log10(E single / E mmse): 0 for the posterior mean, 3.01 for an exact sample
        gap dB         10 log10(E averaged / E mmse): the MMSE optimality gap of the mean of infinitely many outputs
        mean           sqrt(E mean): ||m - m*|| / sqrt(Tr C*)
        covariance     sqrt(E covariance): ||C - C*||_F / ||C*||_F
        covers a       fraction of images covered; standard error sqrt(a (1 - a) / n)
        sliced W2      sqrt(E sliced), in standard deviations of the posterior (root mean square over pixels)
    """
    n, found = len(values["mmse"]), {}
    for name, (value, zero) in figure_draws(values).items():
        if name.startswith("covers"):
            se = se_off = math.sqrt(float(zero[0] * (1 - zero[0])) / n)
        else:
            se, se_off = (estimate(0.0, draws[1:], n).se for draws in (value, value - zero))
        found[name] = Figure(float(value[0]), se, float(zero[0]), se_off)
    return found


def figure_draws(values: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Figure -> (value, zero), each [1 + B]: first for all measurements, then for B resamples of them.

    The same number of measurements gives the same resamples, so that differences between methods are paired.
    """
    names = list(values)
    table = torch.stack([values[name].double() for name in names], dim=1)
    n = len(table)
    draws = torch.cat([w @ table / n for w in weights(n)])
    of = dict(zip(names, torch.cat([table.mean(0, keepdim=True), draws]).mT, strict=True))

    def decibel(part: Tensor) -> Tensor:
        return 10 * (part / of["mmse"]).clamp(min=1e-12).log10()

    found = {"single dB": (decibel(of["single"]), decibel(of["mmse"] + of["trace"]))}
    if "averaged" in of:
        found["gap dB"] = (decibel(of["averaged"]), decibel(of["mmse"]))
    found["mean"] = (of["mean"].sqrt(), of["mean_zero"].sqrt())
    if "covariance" in of:
        found["covariance"] = (of["covariance"].sqrt(), of["covariance_zero"].sqrt())
    for level in LEVELS:
        if (name := f"covers_{level:.0%}") in of:
            found[f"covers {level:.0%}"] = (of[name], torch.full_like(of[name], level))
    found["sliced W2"] = (of["sliced"].sqrt(), of["sliced_zero"].sqrt())
    return found
