"""Whether y can be A(x) + noise at all, for pictures that are already degraded: no clean image is needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rps.metrics.base import Candidate, Metric
from rps.noise import Gaussian
from rps.operators.base import LinearOperator, conjugate_gradient

LEAK, FEWEST = 0.5, 200
"""Largest share of a unit signal, in noise variances, and smallest number of degrees of freedom of the test."""


class EstimatedNoise(Metric):
    """The estimate that solvers use; not recorded if the noise was given."""

    name, title, digits, needs_reference, of_measurement = "estimated_noise", "noise", 4, False, True
    definition = "standard deviation of the noise as estimated from the degraded picture, in [-1, 1] units"

    def judge(self, candidate: Candidate) -> Tensor | None:
        y, noise = candidate.measurement.y, candidate.measurement.noise
        return y.new_full((len(y),), noise.std) if noise.estimated else None


class NoiseRatio(Metric):
    """sqrt(||W y||^2 / E ||W n||^2),  W = c (A A^T + c I)^-1,  c = noise_std^2 / 4.

    W = sum_i c / (s_i^2 + c) u_i u_i^T, and W y is y - A x for a regularised x = A^+ y: it keeps the part of y outside
    the range of A and along singular values far below noise_std, where y is noise whatever the image is. If
    y = A(x) + n, then ||W y||^2 / noise_std^2 is sum_i w_i^2 chi^2_1, close to g chi^2_k with g k = sum w_i^2 and
    k = (sum w_i^2)^2 / sum w_i^4 (Satterthwaite), so the ratio is 1 with standard deviation 1 / sqrt(2 k). The sums are
    estimated with one draw of n. A signal of unit variance adds leak = sum w_i^2 s_i^2 / (noise_std^2 sum w_i^2) to
    the square, of which photographs have a few hundredths there. Missing where k < FEWEST or leak > LEAK: denoising,
    inpainting and averages of pixels have no such directions, so that no y contradicts them.
    """

    name, title, digits, needs_reference, of_measurement = "noise_ratio", "noise ratio", 3, False, True
    definition = (
        "noise found over noise given: the norm of y where A measures next to nothing, over that of such noise; "
        "about 1 if y = A(x) + noise for some x, only for degraded pictures"
    )
    low = (0.85, "y has less noise than given; lower noise, or give null to estimate it")
    high = (1.15, "y is not A(x) + noise of this noise_std for any x; check the operator, its kernel, and noise")

    def judge(self, candidate: Candidate) -> Tensor | None:
        measurement = candidate.measurement
        operator, std, y = measurement.operator, measurement.noise_std, measurement.y
        gaussian = isinstance(measurement.noise, Gaussian) and std > 0
        if candidate.reference is not None or not gaussian or not isinstance(operator, LinearOperator):
            return None
        linear, c = operator, std**2 / 4

        def w(y: Tensor) -> Tensor:
            return c * conjugate_gradient(lambda v: linear(linear.adjoint(v)) + c * v, y, tolerance=1e-4)

        def square(v: Tensor) -> Tensor:
            return v.flatten(1).square().sum(1)

        noise = w(measurement.streams.at("plausibility").normal(y.shape[1:]).to(y))
        size = square(noise)
        freedom, leak = size.square() / square(w(noise)), square(linear.adjoint(noise)) / (std**2 * size)
        known = (freedom >= FEWEST) & (leak <= LEAK)
        ratio = (square(w(y)) / size).sqrt() / std
        return torch.where(known, ratio, math.nan) if bool(known.any()) else None
