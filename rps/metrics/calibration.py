"""Calibration of samples on clean pictures: are they as far from each other as from the truth? No oracle is needed.

If x and M samples x_k are independent draws of p(x | y) given y, they are exchangeable, so the rank of <u, x> among the
<u, x_k> is uniform for every direction u, and with m their mean

    E||x - m||^2 = a + b / M,   a = E||x - E[x_k | y]||^2,   b = E tr Cov(x_k | y),

has a = b. Samples that vary too little, or about the wrong mean, have b < a: they are over-confident.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rps.metrics.base import Candidate, Metric, MetricInfo
from rps.metrics.intervals import Estimate, estimate, weights

DIRECTIONS, SEED = 32, 0

VARIANCE_RATIO = MetricInfo(
    "variance_ratio",
    "b/a",
    "variance b of the samples over the squared error a of the mean of infinitely many (E||x - m||^2 = a + b / M); 1 "
    "for exact samples, less if they are over-confident",
    digits=2,
)


class CalibrationMetric(Metric):
    """A metric of the samples that were averaged, and the clean image."""

    def judge(self, candidate: Candidate) -> Tensor | None:
        if candidate.reference is None or candidate.samples is None:
            return None
        return self.of_samples((candidate.samples + 1) / 2, candidate.reference, candidate)

    def of_samples(self, samples: Tensor, reference: Tensor, candidate: Candidate) -> Tensor:
        """samples: [M, N, C, H, W], reference: [N, C, H, W], both in [0, 1] -> [N]."""
        raise NotImplementedError(f"{type(self).__name__} must define of_samples(samples, reference, candidate)")


class SampleError(CalibrationMetric):
    """a of an image, unbiased: ||x - m||^2 - v / M with the unbiased variance v; may be negative."""

    name, title, digits, unless = "sample_error", "a", 5, VARIANCE_RATIO.name
    definition = "squared error of the mean of infinitely many samples, mean over pixels in [0, 1]: a of b/a"

    def of_samples(self, samples: Tensor, reference: Tensor, candidate: Candidate) -> Tensor:
        error = (reference - samples.mean(0)).square() - samples.var(0) / len(samples)
        return error.flatten(1).mean(1)


def places(samples: Tensor, reference: Tensor, candidate: Candidate) -> Tensor:
    """(rank of <u, x> among the <u, x_k> + U) / (M + 1) in DIRECTIONS random directions u, U ~ U(0, 1): uniform on
    [0, 1] for exact samples, for any M.  -> [N, DIRECTIONS]."""
    generator, ranks = torch.Generator().manual_seed(SEED), []
    jitter = candidate.measurement.streams.at("calibration").uniform((DIRECTIONS,)).to(reference)
    for k in range(DIRECTIONS):
        u = torch.randn(reference.shape[1:], generator=generator).to(reference)
        truth, drawn = (x.flatten(-3) @ u.flatten() for x in (reference, samples.to(reference)))
        ranks.append((drawn < truth).sum(0) + jitter[:, k] * (1 + (drawn == truth).sum(0)))
    return torch.stack(ranks, dim=1) / (len(samples) + 1)


class Coverage(CalibrationMetric):
    """Share of random directions in which the truth is in the central interval of the samples.

    Args:
        probability: of the interval, which is the share that exact samples have.
    """

    digits = 3

    def __init__(self, probability: float = 0.9) -> None:
        super().__init__()
        percent = f"{100 * probability:.0f}"
        self.probability, self.name, self.title = probability, f"covers_{percent}", f"in {percent} %"
        self.definition = (
            f"share of {DIRECTIONS} random directions in which the clean image is in the central {percent} % interval "
            f"of the samples; {probability:g} for exact samples, less if they are over-confident"
        )

    def of_samples(self, samples: Tensor, reference: Tensor, candidate: Candidate) -> Tensor:
        inside = (places(samples, reference, candidate) - 0.5).abs() <= self.probability / 2
        return inside.to(reference).mean(1)


class RankSpread(CalibrationMetric):
    """12 mean((p - 1/2)^2) over the places p of the truth: 1 if they are uniform, up to 3 if all are extreme."""

    name, title, digits = "rank_spread", "ranks", 2
    definition = (
        "12 times the variance about 1/2 of the place of the clean image among the samples in random directions; 1 for "
        "exact samples, whose ranks are uniform, more if they are over-confident"
    )

    def of_samples(self, samples: Tensor, reference: Tensor, candidate: Candidate) -> Tensor:
        return 12 * (places(samples, reference, candidate) - 0.5).square().mean(1)


def variance_ratio(error: Tensor, spread: Tensor) -> Estimate:
    """b / a of n images with its bootstrap interval.  error: SampleError, spread: Spread, whose square is b; [n]."""
    both = torch.stack([spread.double().square(), error.double()], dim=1)
    both = both[both.isfinite().all(1)]
    draws = torch.cat([w @ both for w in weights(len(both))]) if len(both) > 1 else both[:0]
    b, a = both.sum(0) if len(both) else both.new_full((2,), torch.nan)
    return estimate(float(b / a) if a > 0 else torch.nan, draws[:, 0] / draws[:, 1], len(both))
