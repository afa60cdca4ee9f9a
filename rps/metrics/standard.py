"""The metrics that every run records: distortion, agreement with the measurement, spread and calibration of samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rps.metrics.base import Candidate, Metric, check_metrics
from rps.metrics.calibration import Coverage, RankSpread, SampleError
from rps.metrics.images import MS_SSIM_SIZE, SSIM_WINDOW, consistency, ms_ssim, psnr, residual_rms, rmse, ssim
from rps.metrics.plausibility import EstimatedNoise, NoiseRatio

DISTORTION = "rmse"
"""The metric on the distortion axis of the D-P plane."""


class Rmse(Metric):
    name, title, digits, better = DISTORTION, "RMSE", 4, "lower"
    definition = "sqrt(mean((x - reference)^2)) per image, mean over images"

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        return rmse(restored, reference)


class Psnr(Metric):
    name, title, digits, better = "psnr", "PSNR", 2, "higher"
    definition = "-10 log10(mean((x - reference)^2)) dB per image, data range 1, mean over images"

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        return psnr(restored, reference)


class Ssim(Metric):
    name, title, digits, better = "ssim", "SSIM", 3, "higher"
    definition = (
        "Wang et al. 2004: 11 x 11 Gaussian window of std 1.5, data range 1, inside the image, mean over channels; "
        "images of at least 11 pixels a side"
    )

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        return ssim(restored, reference)

    def judge(self, candidate: Candidate) -> Tensor | None:
        return super().judge(candidate) if min(candidate.saved.shape[2:]) >= SSIM_WINDOW else None


class MsSsim(Metric):
    name, title, digits, better = "ms_ssim", "MS-SSIM", 3, "higher"
    definition = "Wang, Simoncelli and Bovik 2003: five scales, windows as ssim; images of at least 176 pixels a side"

    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        return ms_ssim(restored, reference)

    def judge(self, candidate: Candidate) -> Tensor | None:
        return super().judge(candidate) if min(candidate.saved.shape[2:]) >= MS_SSIM_SIZE else None


class Consistency(Metric):
    """Near 1 for a plausible image, so neither higher nor lower is better. It does not apply without noise."""

    name, title, needs_reference = "consistency", "consistency", False
    definition = "||y - A(x)|| / (noise_std sqrt(m)) of the unclipped image, m measurements; 1 for the true image"
    low = (0.5, "fits the noise, which only a mean at little noise should; lower step_size, or check the given noise")
    high = (2.0, "far from the measurement; raise step_size or steps, or lower step_size if images diverge")

    def judge(self, candidate: Candidate) -> Tensor | None:
        return consistency(candidate.measurement, candidate.images)


class Residual(Metric):
    name, title, digits, unless, needs_reference = "residual_rms", "residual", 4, "consistency", False
    definition = "||y - A(x)|| / sqrt(m) of the unclipped image, in [-1, 1] units"

    def judge(self, candidate: Candidate) -> Tensor | None:
        return residual_rms(candidate.measurement, candidate.images)


class Spread(Metric):
    name, title, digits, needs_reference = "spread", "spread", 4, False
    definition = "sqrt(mean over pixels of the variance of the chains that were averaged), per image, in [0, 1] units"

    def judge(self, candidate: Candidate) -> Tensor | None:
        spread = candidate.spread
        return None if spread is None else spread.square().flatten(1).mean(1).sqrt() / 2


def standard(also: Sequence[Metric] = ()) -> list[Metric]:
    """The standard metrics in the order of tables, with those of `also` after the ones that need clean images.

    also: a metric with the name of a standard one replaces it. Errors: ValueError, see check_metrics.
    """
    distortion: list[Metric] = [Rmse(), Psnr(), Ssim(), MsSsim()]
    others: list[Metric] = [Consistency(), Residual(), EstimatedNoise(), NoiseRatio(), Spread()]
    others += [SampleError(), Coverage(0.5), Coverage(0.9), RankSpread()]

    def own(metric: Metric) -> Metric:
        return next((m for m in also if isinstance(m, type(metric)) and m.name == metric.name), metric)

    kept = [[own(metric) for metric in part] for part in (distortion, others)]
    new = [metric for metric in also if not any(metric is known for part in kept for known in part)]
    metrics = [*kept[0], *new, *kept[1]]
    check_metrics(metrics)
    return metrics
