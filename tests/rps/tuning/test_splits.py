"""Fission and held-out pixels: the parts are independent, and the held error is unbiased."""

import math

import pytest
import torch

from rps.measurement import degrade
from rps.metrics.base import Candidate
from rps.metrics.images import as_saved
from rps.noise import Gaussian, Poisson
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.operators.shared import Shared
from rps.tuning import HeldError, SplitMeasurement, fission, hold_out

SHAPE, SIGMA, N = (1, 8, 8), 0.3, 600
X = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0)) - 0.5
"""In [-.5, .5], far from where pictures are clipped."""


def mean_and_error(values: torch.Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / math.sqrt(values.numel()))


def noises(tau: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of y+ and y-."""
    parts = fission(degrade(X, Denoise(), SIGMA), tau)
    return parts.y - X, parts.held.y - X


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
def test_the_noises_of_fission_have_their_variances_and_no_covariance(tau):
    plus, minus = noises(tau)
    parts = fission(degrade(X[:1], Denoise(), SIGMA), tau)
    for noise, std in ((plus, parts.noise_std), (minus, parts.held.noise_std)):
        value, error = mean_and_error(noise.square())
        assert abs(value - std**2) < 4 * error
    assert parts.noise_std == pytest.approx(SIGMA * math.sqrt(1 + tau**2))
    assert parts.held.noise_std == pytest.approx(SIGMA * math.sqrt(1 + 1 / tau**2))
    covariance, error = mean_and_error(plus * minus)
    assert abs(covariance) < 4 * error
    assert error < SIGMA**2 / 20, "with w added twice the covariance would be 2 sigma^2"


def test_the_noises_of_fission_are_jointly_gaussian():
    """Only then is no covariance independence: any sum has the kurtosis 3."""
    plus, minus = noises(0.5)
    for a in (0.5, 1.0, -2.0):
        z = plus + a * minus
        value, error = mean_and_error((z / z.std()) ** 4)
        assert abs(value - 3) < 4 * error


@pytest.mark.parametrize("shrink", [0.2, 0.7, 1.0])
def test_the_held_error_of_fission_is_the_true_error_of_a_of_x(shrink):
    """Of shrink * A^+ y+, in denoising and where A averages pixels."""
    for operator in (Denoise(), SuperResolution(4)):
        parts = fission(degrade(X, operator, SIGMA), 0.7)
        x = shrink * parts.operator.pinv(parts.y)
        difference = HeldError().judge(candidate(x, parts)) - true_error(x, parts)
        value, error = mean_and_error(difference)
        assert abs(value) < 4 * error
        assert error < SIGMA**2 / 20


def test_the_error_against_y_itself_would_be_too_small():
    """The reason for splitting: the noise of y is also in the restoration."""
    measurement = degrade(X, Denoise(), SIGMA)
    x = 0.7 * measurement.y
    naive = measurement.residual(2 * as_saved(x) - 1).flatten(1).square().mean(1) - SIGMA**2
    value, error = mean_and_error(naive / 4 - true_error(x, measurement))
    assert value < -10 * error


@pytest.mark.parametrize("operator", [Inpaint(0.5), Shared(Inpaint(0.5))])
def test_held_out_pixels_are_the_others_and_their_error_is_the_true_one(operator):
    whole = degrade(X, operator, SIGMA)
    parts = hold_out(whole, 0.25)
    assert parts.y.shape[-1] == 24 and parts.held.y.shape[-1] == 8
    together = torch.cat([parts.operator.index, parts.held.operator.index], 1).sort(1).values
    assert torch.equal(together, whole.operator.index)
    image = whole.operator.pinv(whole.y)
    for part in (parts, parts.held):
        assert torch.equal(part.y, part.operator(image))
        assert part.noise_std == SIGMA
    x = 0.7 * parts.operator.pinv(parts.y)
    value, error = mean_and_error(HeldError().judge(candidate(x, parts)) - true_error(x, parts.held))
    assert abs(value) < 4 * error


@pytest.mark.parametrize("split", [fission, hold_out])
def test_parts_depend_on_seed_and_id_only(split):
    ids = [str(i) for i in range(6)]
    whole, part = (split(degrade(X[k:6], Inpaint(0.5), SIGMA, ids[k:])) for k in (0, 4))
    for a, b in ((whole, part), (whole.held, part.held)):
        assert torch.equal(a.y[4:], b.y)
    taken = whole.rows(torch.tensor([5, 1]))
    assert isinstance(taken, SplitMeasurement)
    assert torch.equal(taken.held.y, whole.held.y[[5, 1]]) and torch.equal(taken.y, whole.y[[5, 1]])
    assert torch.equal(taken.held.operator.index, whole.held.operator.index[[5, 1]])
    other = split(degrade(X[:6], Inpaint(0.5), SIGMA, ids, seed=1))
    assert not torch.equal(other.held.y, whole.held.y)


def test_what_cannot_be_split_is_refused():
    pictures = X[:2]
    for noise in (Poisson(100), Gaussian(0.0)):
        with pytest.raises(ValueError, match=r"needs Gaussian noise with a standard deviation > 0, got"):
            fission(degrade(pictures, Denoise(), noise))
    with pytest.raises(ValueError, match="tau must be a finite number > 0, got 0"):
        fission(degrade(pictures, Denoise(), SIGMA), 0.0)
    with pytest.raises(ValueError, match=r"measures single pixels .* got SuperResolution; use fission"):
        hold_out(degrade(pictures, SuperResolution(4), SIGMA))
    for share in (0.0, 0.001, 1.0, math.nan):
        with pytest.raises(ValueError, match="share of held-out pixels must be in"):
            hold_out(degrade(pictures, Inpaint(0.5), SIGMA), share)
    whole = degrade(pictures, Denoise(), SIGMA)
    with pytest.raises(ValueError, match="needs measurements that were split"):
        HeldError().judge(candidate(whole.y, whole))


def candidate(x, measurement):
    return Candidate(x, as_saved(x), measurement)


def true_error(x, measurement):
    """||A(x) - A(x*)||^2 / 4 m of the image as saved, one per image."""
    difference = measurement.operator(2 * as_saved(x) - 1) - measurement.operator(X)
    return difference.flatten(1).square().mean(1) / 4
