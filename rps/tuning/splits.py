"""Splits a measurement into one to restore and one to score the restoration with, so that no clean image is needed.

Both parts are measurements of the same image whose noises are independent given the image. An estimate x made from the
first part is therefore independent of the noise n_h of the second, y_h = A_h(x*) + n_h, and

    E ||y_h - A_h(x)||^2 / m - sigma_h^2 = E ||A_h(x*) - A_h(x)||^2 / m

for any estimator: `HeldError` is an unbiased estimate of the mean squared error of A_h(x), known without x*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement
from rps.metrics.base import Candidate, Metric
from rps.noise import Gaussian
from rps.operators.inpainting import Mask


@dataclass
class SplitMeasurement(Measurement):
    """A measurement to restore.  held: a measurement of the same images, to score with, that no solver sees."""

    held: Measurement = None  # type: ignore[assignment]

    def rows(self, index: Tensor | slice) -> Measurement:
        return replace(super().rows(index), held=self.held.rows(index))  # type: ignore[call-arg]


def fission(measurement: Measurement, tau: float = 0.5) -> SplitMeasurement:
    """Data fission (arXiv 2510.27663): w ~ N(0, sigma^2 I), a function of (seed, id),

        y+ = y + tau w, to restore, with noise of variance sigma^2 (1 + tau^2), and
        y- = y - w / tau, to score with, with noise of variance sigma^2 (1 + 1 / tau^2).

    Cov(n + tau w, n - w / tau) = sigma^2 I - sigma^2 I = 0, and both are Gaussian, so they are independent. A small tau
    changes the problem little and makes the score noisy.

    Errors: ValueError for noise that is not Gaussian or has sigma = 0; for tau that is not positive.
    """
    sigma = measurement.noise_std
    if not isinstance(measurement.noise, Gaussian) or not sigma > 0:
        law = type(measurement.noise).__name__
        raise ValueError(
            f"data fission needs Gaussian noise with a standard deviation > 0, got {law} noise of {sigma:g}; score on "
            "clean pictures, or with held_out if the operator is a mask"
        )
    if not (math.isfinite(tau) and tau > 0):
        raise ValueError(f"tau must be a finite number > 0, got {tau}")
    w = sigma * measurement.streams.at("fission").normal(measurement.y.shape[1:]).to(measurement.y)

    def part(y: Tensor, std: float) -> dict[str, Any]:
        return {"y": y, "noise_std": std, "noise": Gaussian(std)}

    plus = part(measurement.y + tau * w, sigma * math.sqrt(1 + tau**2))
    minus = part(measurement.y - w / tau, sigma * math.sqrt(1 + tau**-2))
    return _split(measurement, plus, minus)


def hold_out(measurement: Measurement, share: float = 0.1) -> SplitMeasurement:
    """Keeps round(share m) of the m measured pixels, drawn for each (seed, id), out of the measurement to restore.

    The noise of different pixels is independent given the image. Unless it is Gaussian, its variance is only near
    noise_std^2, which shifts `HeldError` by the same amount for every setting.

    Errors: ValueError for an operator that is not a Mask; for a share
    that leaves one part empty.
    """
    mask = measurement.operator
    if not isinstance(mask, Mask):
        raise ValueError(
            f"held_out needs an operator that measures single pixels (a Mask such as Inpaint), got "
            f"{type(mask).__name__}; use fission, which splits the noise instead"
        )
    m = mask.index.shape[1]
    count = round(share * m) if math.isfinite(share) else 0
    if not 0 < count < m:
        raise ValueError(
            f"the share of held-out pixels must be in (0, 1) and leave a pixel of {m} in each part, got {share}"
        )
    order = measurement.streams.at("held out").permutation(m)

    def part(places: Tensor) -> dict[str, Any]:
        places = places.sort(dim=1).values
        in_y = places.to(measurement.y.device).unsqueeze(1).expand(-1, measurement.y.shape[1], -1)
        index = mask.index.gather(1, places.to(mask.index.device))
        return {"y": measurement.y.gather(2, in_y), "operator": mask.bound(index=index)}

    return _split(measurement, part(order[:, count:]), part(order[:, :count]))


def _split(measurement: Measurement, restored: dict[str, Any], held: dict[str, Any]) -> SplitMeasurement:
    """The measurement with other values of some fields in its two parts."""
    whole = {field.name: getattr(measurement, field.name) for field in fields(Measurement)}
    return SplitMeasurement(**{**whole, **restored}, held=replace(measurement, **held))


class HeldError(Metric):
    """The mean squared error of A_h(x) over the held measurement of a `SplitMeasurement`, in the units of RMSE squared.

    A difference of two large numbers, so it may be negative; its differences between settings are paired.
    """

    name, title, digits, better, needs_reference = "held_error", "held-out error", 5, "lower", False
    definition = (
        "(||y_h - A_h(x)||^2 / m - noise_std_h^2) / 4 of the image as saved, y_h the part of the measurement that was "
        "not restored: unbiased for the mean squared error of A_h(x) in [0, 1] units"
    )

    def judge(self, candidate: Candidate) -> Tensor:
        if not isinstance(candidate.measurement, SplitMeasurement):
            raise ValueError(
                "the held-out error needs measurements that were split before they were restored; use a module derived "
                "from modules.SolverModule"
            )
        held = candidate.measurement.held
        with torch.no_grad():
            residual = held.residual(2 * candidate.saved.to(held.y) - 1)
        return (residual.flatten(1).square().mean(1) - held.noise_std**2) / 4
