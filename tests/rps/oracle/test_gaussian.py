"""Closed-form distortion-perception references on Gaussians, held against each other."""

import pytest
import torch

from rps.measurement import degrade
from rps.metrics import Gaussian, frechet_distance
from rps.metrics.dp import distortion
from rps.metrics.frechet import root
from rps.operators import Denoise, SuperResolution
from rps.oracle.gaussian import optimal_coupling, propagate_affine, rps_law
from rps.samplers import ExactPosterior, Sampler
from tests.rps.gaussian import DIM, SHAPE, correlated_prior, draw

PRIOR = correlated_prior()
EYE = torch.eye(DIM, dtype=torch.float64)
ZERO = torch.zeros(DIM, dtype=torch.float64)


def world(operator) -> tuple[Gaussian, Gaussian, torch.Tensor]:
    """(law of X, law of X* = E[X | Y], covariance of X given Y)."""
    c = PRIOR.posterior(degrade(draw(PRIOR, 1), operator, 0.3)).covariance()[0]
    s = PRIOR.mixture.covariances()[0, 0]
    return Gaussian(ZERO, s), Gaussian(ZERO, s - c), c


def test_root_is_a_power():
    s, low = PRIOR.mixture.covariances()[0, 0], world(SuperResolution(2))[1].cov
    torch.testing.assert_close(root(s) @ root(s), s)
    torch.testing.assert_close(root(s, -1.0), torch.linalg.inv(s))
    torch.testing.assert_close(root(low, -1.0), torch.linalg.pinv(low, rtol=1e-10))


def test_distance_on_independent_pixels():
    """sum (m_a - m_b)^2 + (s_a - s_b)^2; and it is zero between equals."""
    a = Gaussian(ZERO + 1, torch.diag(torch.linspace(0, 4, DIM).double()))
    b = Gaussian(ZERO - 1, EYE)
    expected = 4 * DIM + float((torch.linspace(0, 4, DIM).double().sqrt() - 1).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2)])
def test_optimal_interpolation_lies_on_the_curve(operator):
    """X_0 has the law of the prior and lies at P* from X*; (1 - w) X* + w X_0 has perception (1 - w) P* and MSE D(P),
    with an X* of full rank and with one that has a null space."""
    prior, estimate, c = world(operator)
    m, r = optimal_coupling(prior, estimate)
    s_star = estimate.cov
    torch.testing.assert_close(m @ s_star @ m.mT + r, prior.cov)
    assert torch.linalg.eigvalsh(r).min() > -1e-9
    assert (r.abs().max() < 1e-9) == isinstance(operator, Denoise)
    d_star, p_star = float(c.trace()), frechet_distance(prior, estimate) ** 0.5
    for w in (0.0, 0.25, 0.8, 1.0):
        mix = (1 - w) * EYE + w * m
        law = Gaussian(ZERO, mix @ s_star @ mix.mT + w**2 * r)
        away = (m - EYE) @ s_star @ (m - EYE).mT + r  # of X_0 from X*
        mse = d_star + w**2 * float(away.trace())
        perception = frechet_distance(prior, law) ** 0.5
        assert perception == pytest.approx((1 - w) * p_star, abs=1e-5)
        assert mse == pytest.approx(float(distortion(torch.tensor(perception), d_star, p_star)), rel=1e-4)


def test_map_rps_lies_above_the_bound_given_y():
    """From D* at t0 = 0 to 2 D* at t0 = T, rising, and nowhere below D(P) of the Gaussian posterior."""
    _, _, c = world(SuperResolution(2))
    posterior, total = Gaussian(ZERO, c), float(c.trace())
    before = 0.0
    for t0 in (1, 30, 100, 300, 600, 1000):
        law = rps_law(posterior, PRIOR.schedule.alpha(t0 - 1), PRIOR.schedule.sigma(t0 - 1))
        mse, perception = total + float(law.cov.trace()), frechet_distance(posterior, law) ** 0.5
        bound = float(distortion(torch.tensor(perception), total, total**0.5))
        assert mse >= bound - 1e-9
        assert mse > before
        before = mse
    assert before == pytest.approx(2 * total, rel=1e-4)


class Shrinks(Sampler):
    """x' = x / 2 + y + z_1 + 3 z_2."""

    def step(self, x, t, t_next, measurement, prior, noise):
        return x / 2 + measurement.y + noise.normal(SHAPE).to(x) + 3 * noise.at("second").at_step(t).normal(SHAPE).to(x)


class Bends(Shrinks):
    def step(self, x, t, t_next, measurement, prior, noise):
        return super().step(x, t, t_next, measurement, prior, noise) + 1e-3 * x**2


def test_propagation_by_hand():
    """Two steps: mean m / 4 + 3 y / 2, covariance C / 16 + 10 / 4 + 10."""
    measurement = degrade(draw(PRIOR, 1), Denoise(), 0.3)
    start = Gaussian(ZERO + 2, PRIOR.mixture.covariances()[0, 0])
    found = propagate_affine(Shrinks(), measurement, PRIOR, [500, 100], start)
    torch.testing.assert_close(found.mean, start.mean / 4 + 1.5 * measurement.y.flatten())
    torch.testing.assert_close(found.cov, start.cov / 16 + 12.5 * EYE)


def test_propagation_says_what_it_cannot_do():
    measurement, start = degrade(draw(PRIOR, 1), Denoise(), 0.3), Gaussian(ZERO, EYE)
    with pytest.raises(ValueError, match="Bends is not affine at t = 500"):
        propagate_affine(Bends(), measurement, PRIOR, [500, 100], start)
    with pytest.raises(ValueError, match="draws numbers that are not normal"):
        propagate_affine(ExactPosterior(), measurement, PRIOR, [500], start)
    with pytest.raises(ValueError, match="needs the measurement of one image, got 2"):
        propagate_affine(Shrinks(), degrade(draw(PRIOR, 2), Denoise(), 0.3), PRIOR, [500], start)
