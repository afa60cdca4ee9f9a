"""ProximalMap on Gaussian priors, where its stationary point and the posterior mean are known."""

import math

import pytest
import torch

from rps.estimators import ProximalMap
from rps.estimators.data_step import DataStep
from rps.measurement import degrade
from rps.operators import (
    AnisotropicBlur,
    Denoise,
    GaussianBlur,
    HighDynamicRange,
    Inpaint,
    LinearOperator,
    Operator,
    SuperResolution,
)
from rps.priors import EmbeddedPrior, GaussianMixturePrior
from rps.priors.counted import CountedPrior
from rps.schedule import Schedule
from tests.rps.gaussian import DIM, SHAPE, correlated_prior, draw
from tests.rps.latent_models import LinearLatentPrior, latent_draws

NOISE = 0.3
TASKS = {"denoise": Denoise(), "sr2": SuperResolution(2), "inpaint": Inpaint(keep=0.5)}
PLAIN = {"start": 0.0, "matched": False, "polish": False}


class Hidden(LinearOperator):
    """2x super-resolution, without its singular values."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)


class Disguised(Operator):
    """2x super-resolution that does not say that it is linear."""

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)

    def pinv(self, y, rcond=0.0):
        return torch.nn.functional.interpolate(y, scale_factor=2)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("t1", [100, 300])
def test_stationary_point_is_that_of_the_published_objective(task, t1):
    """Without annealing and matching, the mean over e of the steps solves A^T (A x - y) + rho (x - E x0hat) = 0, which
    is linear in x on a Gaussian prior. The step is affine, so pairs of opposite e leave only the error of averaging."""
    prior, factor = correlated_prior(), 0.7
    measurement = degrade(draw(prior, 8), TASKS[task], NOISE)
    found = ProximalMap(600, t1=t1, w_factor=factor, tail=0.9, clip=False, **PLAIN).estimate(measurement, prior)
    alpha, sigma = prior.schedule.alpha(t1), prior.schedule.sigma(t1)
    rho = factor * (NOISE * alpha / sigma) ** 2
    zero, units = torch.zeros(1, *SHAPE, dtype=torch.float64), torch.eye(DIM, dtype=torch.float64).view(DIM, *SHAPE)

    def x0hat(x):
        return prior.denoise(alpha * x, torch.full((len(x),), t1)).x0

    shrink = (x0hat(units) - x0hat(zero)).flatten(1).T
    for row in range(len(found)):
        one = measurement.rows(slice(row, row + 1))
        matrix = one.operator.matrix()
        right = matrix.T @ one.y.flatten().double() + rho * x0hat(zero).flatten()
        x = torch.linalg.solve(matrix.T @ matrix + rho * (torch.eye(DIM, dtype=torch.float64) - shrink), right)
        assert (found[row].flatten() - x).norm() < 0.02 * x.norm()


@pytest.mark.parametrize("task", TASKS)
def test_tends_to_the_posterior_mean_with_the_exact_weight(task):
    """w_factor = nu^2 / r^2, r^2 the variance of p(x_0 | x_t) of an isotropic prior, makes the MAP the mean."""
    variance, t1 = 0.25, 10
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), variance)
    x = draw(prior, 16)
    measurement = degrade(x, TASKS[task], NOISE)
    nu = float(prior.schedule.levels[t1])
    estimator = ProximalMap(2000, t1=t1, w_factor=nu**2 / (variance * nu**2 / (variance + nu**2)), clip=False, **PLAIN)
    mean = prior.posterior(measurement).mean().view_as(x)
    assert (estimator.estimate(measurement, prior) - mean).norm() < 0.02 * mean.norm()


@pytest.mark.parametrize("task", TASKS)
def test_a_level_above_the_deviation_of_the_prior_does_not_weaken_it(task):
    """A narrow prior at a high t1: with the weight of a broad one its mean would hardly count."""
    prior = GaussianMixturePrior(torch.full((1, *SHAPE), 0.2, dtype=torch.float64), 0.01)
    assert prior.data_std == pytest.approx(0.1)
    measurement = degrade(draw(prior, 16), TASKS[task], NOISE)
    mean = prior.posterior(measurement).mean().view(-1, *SHAPE)

    def error(w_factor):
        found = ProximalMap(100, t1=400, w_factor=w_factor, clip=False, **PLAIN).estimate(measurement, prior)
        return float((found - mean).norm() / (draw(prior, 16) - mean).norm())

    assert error(None) < 0.1 < error(1.0)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_one_call_is_the_posterior_mean_of_denoising(scale):
    """With A = c I as well; at the timestep nearest to the noise, so up to the spacing of the levels (1 %)."""

    class Scaled(Denoise):
        def forward(self, x):
            return scale * x

        def spectral(self, y, gain):
            return gain(torch.full((1, 1, 1, 1), scale, dtype=y.dtype)) * y

    prior = CountedPrior(correlated_prior())
    measurement = degrade(draw(prior.prior, 16), Scaled(), NOISE)
    estimate = ProximalMap(clip=False).estimate(measurement, prior)
    mean = prior.posterior(measurement).mean().view_as(estimate)
    assert prior.cost.network_calls == 16
    assert (estimate - mean).norm() < 0.01 * mean.norm()


@pytest.mark.parametrize(("num_steps", "polish"), [(1, True), (1, False), (7, True), (6, False)])
def test_calls_are_as_many_as_stated_and_never_differentiated(num_steps, polish):
    prior = CountedPrior(correlated_prior())
    measurement = degrade(draw(prior.prior, 2), SuperResolution(2), NOISE)
    ProximalMap(num_steps, polish=polish).estimate(measurement, prior)
    assert (prior.cost.network_calls, prior.cost.network_backwards) == (2 * num_steps, 0)


def test_linear_operators_with_and_without_a_spectrum_agree():
    prior = correlated_prior()
    x = draw(prior, 4)
    settings = {"num_steps": 20, "matched": False, "clip": False}
    known = ProximalMap(**settings).estimate(degrade(x, SuperResolution(2), NOISE), prior)
    hidden = ProximalMap(**settings).estimate(degrade(x, Hidden(), NOISE), prior)
    # A^+ y is exact with the one and iterated with the other.
    torch.testing.assert_close(known, hidden, atol=2e-3, rtol=0)


def test_adam_steps_approach_the_exact_step():
    prior = correlated_prior()
    x = draw(prior, 4)
    nu = torch.full((4,), 0.5, dtype=torch.float64)
    exact, descent = (
        DataStep(degrade(x, operator, NOISE), prior, 1.0, 400, 0.02)(torch.zeros_like(x), nu, torch.zeros_like(x))
        for operator in (SuperResolution(2), Disguised())
    )
    assert (exact - descent).norm() < 0.02 * exact.norm()


def test_steps_through_a_decoder_weigh_the_error_of_the_image():
    """For D z = W z + b the step minimises (y - A D z)^T C^-1 (y - A D z) + ||z - x0hat||^2 / nu^2 with
    C = noise_std^2 I + (nu / 2)^2 A A^T, here with x0hat = 0."""
    prior, std = LinearLatentPrior(1.0), 0.8
    measurement = degrade(latent_draws(prior, 4), GaussianBlur(taps=3, std=1.0), NOISE)
    start = torch.zeros(4, *prior.sample_shape, dtype=torch.float64)
    found = DataStep(measurement, prior, 1.0, 1000, 0.02)(start, torch.full((4,), std, dtype=torch.float64), start)
    operator = measurement.operator.matrix()
    covariance = NOISE**2 * torch.eye(16) + (std / 2) ** 2 * operator @ operator.T
    forward = operator @ prior.weight
    weighted = torch.linalg.solve(covariance, forward).T
    right = weighted @ (measurement.y.flatten(1).T - (operator @ prior.offset)[:, None])
    z = torch.linalg.solve(weighted @ forward + torch.eye(8) / std**2, right).T
    assert (found.flatten(1) - z).norm() < 0.01 * z.norm()


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_last_level_keeps_the_noise_of_an_ill_posed_operator_below_that_of_y(noise):
    """White images have no prior knowledge to rely on, so the deviation of x over draws of the noise is that of
    the step by itself: at most noise_std, and almost all of it at the chosen level or the next higher one."""
    prior = EmbeddedPrior()
    x = torch.zeros(64, *prior.sample_shape)
    step = DataStep(degrade(x, AnisotropicBlur(), noise), prior, 1.0, None, 0.3)
    level = step.last_level(float(prior.schedule.levels[0]))
    assert float(prior.schedule.levels[0]) / 2 < float(level.min()) <= float(level.max())
    if noise:
        clean = DataStep(degrade(x, AnisotropicBlur(), noise), prior, 1.0, None, 0.3)
        z = clean(torch.zeros_like(x), level, x)
        assert float(z.std()) < 1.05 * noise
        assert float(step.noise(level * math.sqrt(2)).mean()) > noise


def test_well_posed_operators_stay_at_the_level_of_their_noise():
    prior = EmbeddedPrior()
    x = torch.zeros(4, *prior.sample_shape)
    for operator, s in ((SuperResolution(4), 0.25), (Inpaint(0.3), 1.0)):
        found = DataStep(degrade(x, operator, 0.1), prior, 1.0, None, 0.3).last_level(0.01)
        wanted = torch.full((4,), math.sqrt(0.25**2 + (0.1 / s) ** 2))
        torch.testing.assert_close(found, wanted, rtol=0.15, atol=0)  # s^2 is from one draw of 64 or more numbers


def test_nonlinear_operators_start_from_the_last_estimate():
    """A saturated pixel of x0hat has no gradient, so a step from x0hat alone could never leave it."""
    prior = correlated_prior()
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    measurement = degrade(x, HighDynamicRange(), 0.01)
    step, saturated, nu = DataStep(measurement, prior, 1e-6, 20, 0.3), x + 0.9, torch.ones(1, dtype=torch.float64)
    assert float((step(saturated, nu * 4, x) - saturated).abs().max()) < 0.1
    assert float(step(saturated, nu, x).abs().max()) < 0.3


@pytest.mark.slow
def test_lower_distortion_than_the_published_estimate_at_a_fifth_of_the_calls():
    """16 embedded images, 4x super-resolution; the paired difference is several standard errors."""
    from rps.estimators import MapEstimator
    from rps.metrics import as_saved, rmse
    from rps.priors.analytic.images import read_images

    prior, x = EmbeddedPrior(), read_images("embedded", skip=500, limit=16)
    measurement = degrade(x, SuperResolution(4), 0.1)
    errors = [
        rmse(as_saved(estimator.estimate(measurement, prior)), as_saved(x))
        for estimator in (ProximalMap(10), MapEstimator(50, t1=200, w_factor=1.0))
    ]
    difference = errors[0] - errors[1]
    assert float(difference.mean()) < -2 * float(difference.std()) / len(x) ** 0.5


def test_zero_snr_is_left_out_by_the_rule_and_refused_as_t1():
    """nu is infinite where alpha is 0."""
    prior = correlated_prior()
    alpha = prior.schedule.alpha_table[:-1].clone()
    alpha[-1] = 0.0
    prior.schedule = Schedule(alpha, prior.schedule.sigma_table[:-1])
    measurement = degrade(draw(prior, 2), SuperResolution(2), NOISE)
    assert ProximalMap(5, start=1e9).estimate(measurement, prior).isfinite().all()
    with pytest.raises(ValueError, match="ProximalMap divides by alpha, which is 0 at timestep 999"):
        ProximalMap(5, t1=999).estimate(measurement, prior)


def test_bad_settings_are_told():
    prior = correlated_prior()
    with pytest.raises(ValueError, match=r"t1 must be a timestep in 0 \.\. 999, got 1000"):
        ProximalMap(t1=1000).estimate(degrade(draw(prior, 1), Denoise(), NOISE), prior)
    with pytest.raises(ValueError, match="tail must be between 0 and 1"):
        ProximalMap(tail=2.0)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        ProximalMap(0)
    with pytest.raises(ValueError, match="start must be a finite number"):
        ProximalMap(start=math.nan)
