"""The step of DPS that follows from the schedule, the noise and the residual."""

from dataclasses import replace

import pytest
import torch

from rps.operators import Denoise, SuperResolution
from rps.oracle import Problem, smooth_prior
from rps.samplers import Dps, LatentDps, Psld, VsDps
from rps.samplers.derived_step import LARGEST_SHARE, derived_step
from rps.samplers.guidance import through_denoiser
from rps.schedule import CLEAN, Schedule
from rps.traversals import PosteriorSampling
from tests.rps.gaussian import SHAPE, correlated_prior
from tests.rps.solvers import LATENT, close, measure

PRIOR = correlated_prior(2)
T, T_NEXT = torch.tensor([500, 300, 20]), torch.tensor([499, 280, CLEAN])
X = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def step(sampler, measurement):
    return sampler.step(X, T, T_NEXT, measurement, PRIOR, measurement.streams.at_step(T))


def test_it_is_the_ancestral_step_of_the_posterior():
    """x0hat + sigma^2 / alpha g and eps - sigma g, g = grad_x log N(y; A x0hat, v I), v = mean (y - A x0hat)^2: the
    change of the mean, term by term."""
    measurement, schedule = measure(3), PRIOR.schedule
    _, gradient, loss = through_denoiser(X, T, PRIOR, lambda x0: measurement.residual(x0).flatten(1).square().sum(1))
    v = (loss / measurement.y[0].numel()).clamp(min=measurement.noise_std**2).view(3, 1, 1, 1)
    g = -gradient / (2 * v)
    (alpha, sigma), (alpha_next, sigma_next) = schedule.at(T, X), schedule.at(T_NEXT, X)
    s = schedule.reverse_std(T, T_NEXT, X)
    change = alpha_next * sigma**2 / alpha * g - (sigma_next**2 - s**2).clamp(min=0).sqrt() * sigma * g
    found = step(Dps(clip=False), measurement) - step(Dps(step_size=0.0, clip=False), measurement)
    assert close(found, change, 1e-9)


def test_the_square_of_the_norm_gives_the_same_step():
    measurement = measure(3)
    assert close(step(Dps(squared=True), measurement), step(Dps(), measurement), 1e-10)
    assert close(step(VsDps(1.0), measurement), step(Dps(), measurement), 1e-10)
    # what is said of a given step size does not matter
    assert close(step(Dps(decay=True, per_timestep=True), measurement), step(Dps(), measurement), 1e-10)


def test_a_step_of_the_norm_lowers_the_residual_by_a_quarter_at_most():
    """To first order, which is exact for ||r|| along a line."""
    gradient, loss = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([10.0])
    measurement, schedule = measure(1), Schedule.linear()
    sigma = torch.tensor([900]), torch.tensor([100])
    k = derived_step(gradient, loss, 1, *sigma, replace(measurement, noise_std=0.0), schedule)
    assert float(loss - k.flatten() * gradient.square().sum()) == pytest.approx((1 - LARGEST_SHARE) * 10, rel=1e-5)


def test_the_factor_weighs_the_likelihood():
    measurement = measure(3)
    free, one, half = (step(Dps(step_factor=f), measurement) for f in (0.0, 0.1, 0.05))
    assert close(free, step(Dps(step_size=0.0), measurement)) and close(2 * (half - free), one - free, 1e-9)


@pytest.mark.parametrize("loss", [0.0, 1e-30, 1e30])
def test_it_is_finite_without_noise_without_a_residual_and_where_x_says_nothing(loss):
    empty = Schedule(torch.tensor([0.9, 0.0]), torch.tensor([0.4, 1.0]))
    for noise_std in (0.0, 0.1):
        measurement = replace(measure(2), noise_std=noise_std)
        gradient = torch.ones(2, *SHAPE)
        found = derived_step(
            gradient, torch.full((2,), loss), 2, torch.tensor([1, 0]), torch.tensor([0, CLEAN]), measurement, empty
        )
        assert found.isfinite().all() and found[0] == 0


@pytest.mark.parametrize("sampler", [LatentDps(), Psld()])
def test_latent_samplers_have_it_too(sampler):
    """Guidance of latents by default moves towards y: the residual after a chain is below that of the prior alone."""
    measurement = LATENT.measure(8)

    def residual(one):
        images = PosteriorSampling(one, steps=10).run(measurement, LATENT.prior()).images[10]
        return measurement.residual(images).flatten(1).square().mean(1).sqrt()

    gain = residual(LatentDps(0.0)) - residual(sampler)
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize(("operator", "noise_std"), [(Denoise(), 0.3), (SuperResolution(2), 0.2)])
def test_its_samples_are_nearer_to_the_posterior_than_those_of_the_published_step(operator, noise_std, components):
    """By sliced W2 to exact draws: less, by more than 3 standard errors of both."""
    problem = Problem.of(smooth_prior(components=components, std=0.35), operator, noise_std, 16, 10)
    (derived,), (published,) = (problem.judge(PosteriorSampling(Dps(size), 50)).values() for size in (None, 1.0))
    a, b = derived["sliced W2"], published["sliced W2"]
    assert b.value - a.value > 3 * (a.se**2 + b.se**2) ** 0.5
