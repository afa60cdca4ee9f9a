"""The measures of the oracle, on outputs whose law is known."""

import math
from functools import cache

import pytest
import torch

from rps.estimators import PosteriorMean
from rps.measurement import degrade
from rps.metrics import Gaussian, frechet_distance
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.oracle.measures import (
    covariance_noise,
    exact_samples,
    figures,
    measures,
    outputs,
    repeat,
    sliced_w2,
)
from rps.oracle.worlds import (
    draw,
    empirical_prior,
    estimate_moments,
    expected_covariance,
    moments,
    optimal_images,
    smooth_prior,
    uncertain,
)
from rps.randomness import Streams
from rps.samplers import ExactPosterior
from rps.traversals import MapRps, PosteriorSampling
from tests.rps.gaussian import draws
from tests.rps.test_low_rank_mixture import low_rank

PRIORS = {
    "gaussian": smooth_prior(),
    "mixture": smooth_prior(components=2),
    "low rank": low_rank(floor=0.02),
    "images": empirical_prior(),
}
N, M = 200, 19
IDS = [str(i) for i in range(N)]


@cache
def world(prior, operator=None, m=M):
    """(truth [N, D], posterior, two sets of exact draws, measurement) of N images."""
    images = draw(PRIORS[prior], IDS)
    measurement = degrade(images, operator or SuperResolution(2), 0.2, IDS)
    posterior = PRIORS[prior].posterior(measurement)
    exact = tuple(exact_samples(posterior, measurement.streams.at("exact", k), m) for k in range(2))
    return images.flatten(1), posterior, exact, measurement


def judged(prior, change=lambda x, posterior: x):
    """Figures of exact draws, after a change."""
    truth, posterior, exact, measurement = world(prior)
    x = exact_samples(posterior, measurement.streams.at("judged"), M)
    return figures(measures(change(x, posterior), truth, posterior, exact)), posterior


@pytest.mark.parametrize("prior", PRIORS)
def test_a_measurement_of_the_whole_image_is_the_denoiser(prior):
    """A = I: y = x + s n is x_t / alpha with s = sigma / alpha; two code paths, one answer."""
    schedule, t = PRIORS[prior].schedule, torch.full((8,), 200)
    measurement = degrade(draw(PRIORS[prior], IDS[:8]), Denoise(), schedule.sigma(200) / schedule.alpha(200))
    denoised = PRIORS[prior].denoise(measurement.y * schedule.alpha(200), t).x0
    torch.testing.assert_close(PRIORS[prior].posterior(measurement).mean(), denoised.flatten(1))


@pytest.mark.parametrize("prior", PRIORS)
def test_the_exact_law_is_at_zero(prior):
    """Every figure of draws from p(x | y) lies within 4 standard errors of what is said of the exact law."""
    found, _ = judged(prior)
    regions = set() if prior == "images" else {"covers 50%", "covers 90%"}
    assert set(found) == {"single dB", "gap dB", "mean", "covariance", "sliced W2"} | regions
    for name, figure in found.items():
        assert abs(figure.off) < 4, name
    assert found["mean"].zero == pytest.approx(M**-0.5)
    assert found["single dB"].zero == pytest.approx(10 * math.log10(2), abs=4 * found["single dB"].se)


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_a_shift_of_the_mean_is_measured(prior):
    """x + d, |d|^2 = .6 Tr C: mean error sqrt(.6 + 1 / M), gap 10 log10(1 + .6) on average over the measurements."""

    def shifted(x, posterior):
        trace = posterior.covariance().diagonal(dim1=-2, dim2=-1).sum(-1).expand(N)
        return x + (0.6 * trace / x.shape[2]).sqrt().view(-1, 1, 1)

    found, _ = judged(prior, shifted)
    assert abs(found["mean"].value - (0.6 + 1 / M) ** 0.5) < 4 * found["mean"].se
    assert abs(found["gap dB"].value - 10 * math.log10(1.6)) < 4 * found["gap dB"].se
    assert found["covariance"].off < 4
    # Beside the mode, outputs are less likely than the image: their regions reach too far.
    assert found["sliced W2"].off > 4 and found["covers 50%"].off > 4


def test_a_spread_is_measured():
    """N(mu, s^2 C): MSE (1 + s^2) D*, covariance error (1 - s^2)^2 + s^4 noise, and regions that cover too much."""
    s2 = 2.0
    found, posterior = judged("gaussian", lambda x, p: p.mean().unsqueeze(1) + s2**0.5 * (x - p.mean().unsqueeze(1)))
    c = posterior.covariance()[0]
    noise = float((c.trace() ** 2 / c.square().sum() + 1) / (M - 1))
    assert abs(found["single dB"].value - 10 * math.log10(1 + s2)) < 4 * found["single dB"].se
    assert abs(found["covariance"].value ** 2 - (1 - s2) ** 2 - s2**2 * noise) < 8 * found["covariance"].se
    assert found["covers 50%"].off > 4 and abs(found["gap dB"].off) < 4


def test_the_posterior_mean_is_the_mmse_point():
    """0 dB, no error of the mean; no spread either, which is an error of the covariance of 1."""
    found, _ = judged("mixture", lambda x, p: p.mean().unsqueeze(1).expand_as(x))
    for name, value in (("single dB", 0), ("gap dB", 0), ("mean", 0), ("covariance", 1)):
        assert found[name].value == pytest.approx(value, abs=1e-9), name
    assert found["sliced W2"].value == pytest.approx(1, abs=0.1)


def test_one_output_has_no_covariance_and_bounds_half_of_the_mass():
    truth, posterior, exact, measurement = world("mixture", m=1)
    x = exact_samples(posterior, measurement.streams.at("judged"), 1)
    found = figures(measures(x, truth, posterior, exact))
    assert set(found) == {"single dB", "mean", "covers 50%", "sliced W2"}
    assert abs(found["covers 50%"].off) < 4


def test_noise_of_a_covariance():
    """E||C - C*||^2 of M = 4 draws of a mixture, from 4,000 repetitions; and the textbook formula of one Gaussian."""
    posterior = world("mixture")[1]
    one, m, repeats = posterior.rows(torch.tensor([0])), 4, 4000
    x = exact_samples(
        one.rows(torch.zeros(repeats, dtype=torch.int64)), Streams(0, [str(k) for k in range(repeats)]), m
    )
    centred = x - x.mean(1, keepdim=True)
    error = (centred.mT @ centred / (m - 1) - one.covariance()).square().sum((1, 2))
    assert abs(error.mean() - covariance_noise(one, m)) < 4 * error.std() / repeats**0.5

    gaussian = world("gaussian")[1]
    c = gaussian.covariance()[0]
    torch.testing.assert_close(covariance_noise(gaussian, m)[:1], ((c.trace() ** 2 + c.square().sum()) / (m - 1))[None])


@pytest.mark.parametrize("operator", [SuperResolution(2), Inpaint(0.5)])
@pytest.mark.parametrize("prior", PRIORS)
def test_what_is_made_without_the_covariance_is_what_the_covariance_says(prior, operator):
    """Cov v, ||Cov||_F^2, Tr Cov, and E|x - m|^4 within 4 standard errors of 20,000 draws; a batch is its rows."""
    posterior = world(prior, operator)[1].rows(torch.tensor([0, 1]))
    covariance = posterior.covariance()
    v = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(posterior.covariance_times(v), covariance @ v)
    torch.testing.assert_close(posterior.covariance_square(), covariance.square().sum((1, 2)))
    torch.testing.assert_close(posterior.trace(), covariance.diagonal(dim1=1, dim2=2).sum(1))
    n = 20_000
    x = torch.stack([draws(posterior.rows(slice(row, row + 1)), n, row) for row in range(2)])
    distance = (x - posterior.mean().unsqueeze(1)).square().sum(2) ** 2
    assert ((distance.mean(1) - posterior.fourth()).abs() < 4 * distance.std(1) / n**0.5).all()
    torch.testing.assert_close(posterior.rows(slice(1, 2)).fourth(), posterior.fourth()[1:])


@pytest.mark.parametrize("prior", PRIORS)
def test_moments_of_the_estimate(prior):
    """Mean and covariance of E[x|y] of 1,000 draws within 5 standard errors of both: those of the draws, and those of
    the 64 over which the posterior covariance is averaged, which has none for a Gaussian."""
    n, eye = 1000, torch.eye(16, dtype=torch.float64)
    ids = [str(i) for i in range(n)]
    best = PRIORS[prior].posterior(degrade(draw(PRIORS[prior], ids), SuperResolution(2), 0.2, ids)).mean()
    expected = expected_covariance(PRIORS[prior], SuperResolution(2), 0.2)
    law, own = estimate_moments(PRIORS[prior], eye, expected), expected.std(0) / len(expected) ** 0.5
    z = best - law.mean
    products = z.unsqueeze(2) * z.unsqueeze(1)
    assert bool((z.mean(0).abs() < 5 * z.std(0) / n**0.5).all())
    se = (products.var(0) / n + own**2).sqrt()
    dropped = 2 * float(own.norm())  # eigenvalues that are taken for zero
    assert bool(((products.mean(0) - law.cov).abs() < 5 * se + dropped).all())
    assert float(own.max()) < 1e-12 or prior != "gaussian"
    assert torch.equal(law.mean, moments(PRIORS[prior], eye).mean)


@pytest.mark.parametrize("along", ["of which y says least", "of five pixels"])
@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_optimal_images_lie_on_the_curve_along_a_few_directions(prior, along):
    """Along 5 of 16 directions, weight w: distance to the prior (1 - w) P*, and E||X_w - X*||^2 = w^2 P*^2, P* that of
    E[x|y]; within 5 standard errors, and the bias of a distance of 4,000 images."""
    n, expected = 4000, expected_covariance(PRIORS[prior], SuperResolution(2), 0.2, parts=64)
    basis = uncertain(PRIORS[prior], expected, 5) if "least" in along else torch.eye(16, 5, dtype=torch.float64)
    ids = [str(i) for i in range(n)]
    measurement = degrade(draw(PRIORS[prior], ids), SuperResolution(2), 0.2, ids)
    best, law = PRIORS[prior].posterior(measurement).mean(), moments(PRIORS[prior], basis)
    estimate = estimate_moments(PRIORS[prior], basis, expected)
    found = optimal_images(law, estimate, basis, best, [0.0, 0.5, 1.0], measurement.streams)
    farthest = frechet_distance(law, estimate) ** 0.5
    for w, x in found.items():
        moved = (x - best).square().sum(1)
        assert abs(moved.mean() - (w * farthest) ** 2) <= 5 * moved.std() / n**0.5 + 0.02 * farthest**2
        z = x @ basis
        own = Gaussian(z.mean(0), torch.cov(z.mT))
        assert abs(frechet_distance(own, law) ** 0.5 - (1 - w) * farthest) < 5 * (float(law.cov.trace()) / n) ** 0.5


def test_sliced_distance():
    """Of a shift d: |d|^2 / D over all directions; of a set and itself in another order: none."""
    a = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    d = torch.arange(16, dtype=torch.float64)
    projections = 4000
    # Var((v d)^2) = 2 |d|^4 (D - 1) / (D^2 (D + 2)) over the sphere
    se = float(d.square().sum()) / 16 * (2 * 15 / 18 / projections) ** 0.5
    assert abs(sliced_w2(a + d, a, projections)[0] - d.square().sum() / 16) < 4 * se
    assert float(sliced_w2(a, a[:, torch.randperm(50)]).abs().max()) == 0


def test_outputs_belong_to_their_measurements_and_differ():
    measurement = world("gaussian", Inpaint(0.5))[3].rows(slice(0, 5))
    exact = PRIORS["gaussian"].posterior(measurement).mean()
    (mean,) = outputs(MapRps([0], PosteriorMean()), measurement, PRIORS["gaussian"], 3).values()
    torch.testing.assert_close(mean, exact.unsqueeze(1).expand(-1, 3, -1))
    (x,) = outputs(PosteriorSampling(ExactPosterior(), 2), measurement, PRIORS["gaussian"], 3).values()
    assert len(torch.unique(x[..., 0])) == 15
    assert len(torch.unique(repeat(measurement, 3).streams.keys, dim=0)) == 15


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_images_are_drawn_from_the_prior_one_by_one(prior):
    """A function of (seed, id); mean and covariance of 4,000 within 4 and 5 standard errors; nearly all in [-1, 1]."""
    mixture = PRIORS[prior].mixture
    assert torch.equal(draw(PRIORS[prior], ["a", "b"])[1:], draw(PRIORS[prior], ["b"]))
    assert not torch.equal(draw(PRIORS[prior], ["b"], seed=1), draw(PRIORS[prior], ["b"]))
    x = draw(PRIORS[prior], [str(k) for k in range(4000)]).flatten(1)
    z = x - mixture.mean()
    assert bool((z.mean(0).abs() < 4 * x.std(0) / 4000**0.5).all())
    products = z.unsqueeze(2) * z.unsqueeze(1)
    assert bool(((products.mean(0) - mixture.covariance()[0]).abs() < 5 * products.std(0) / 4000**0.5).all())
    assert float((x.abs() > 1).double().mean()) < 0.01


def test_worlds_that_cannot_be():
    assert torch.equal(smooth_prior(3, std=0.5, length=0).mixture.covariances()[0, 0], 0.25 * torch.eye(9).double())
    with pytest.raises(ValueError, match="size and components must be at least 1, std > 0 and length >= 0, got size=0"):
        smooth_prior(0)
