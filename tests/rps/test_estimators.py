"""RED-diff, RMP and DMAP: where they lead, on a Gaussian prior."""

import pytest
import torch

from rps.estimators import ChainEstimator, DmapEstimator, PseudoInverse, RedDiff, RmpEstimator
from rps.measurement import degrade
from rps.operators import Denoise, SuperResolution
from rps.priors import GaussianMixturePrior
from rps.samplers import ExactPosterior
from rps.schedule import Schedule
from tests.rps.gaussian import SHAPE, correlated_prior, draw
from tests.rps.solvers import PIXEL


def relative_gap(estimator, operator, noise_std, n=16) -> float:
    """Root mean square distance to the posterior mean, over the posterior's standard deviation."""
    prior = correlated_prior()
    measurement = degrade(draw(prior, n), operator, noise_std)
    posterior = prior.posterior(measurement)
    distance = (estimator.estimate(measurement, prior).flatten(1) - posterior.mean()).square().sum(1).mean()
    return float((distance / posterior.covariance()[0].trace()).sqrt())


@pytest.mark.parametrize(("operator", "noise_std"), [(Denoise(), 0.5), (SuperResolution(2), 0.4)])
def test_estimates_are_nearer_to_the_posterior_mean(operator, noise_std):
    """A posterior sample is at 1 in these units. The estimators with a prior, each with a step size for this noise, are
    below it and below the pseudo-inverse."""
    found = {
        "pseudo-inverse": relative_gap(PseudoInverse(), operator, noise_std),
        "sample": relative_gap(ChainEstimator(ExactPosterior(), 20), operator, noise_std),
        "rmp": relative_gap(RmpEstimator(step_size=0.3, num_steps=50, clip=False), operator, noise_std),
        "dmap": relative_gap(DmapEstimator(step_size=1.0, radius=0.1, num_steps=50), operator, noise_std),
        "red-diff": relative_gap(RedDiff(100, lr=0.02, lam=1.0), operator, noise_std),
    }
    print({name: round(gap, 3) for name, gap in found.items()})
    assert found["sample"] == pytest.approx(1, abs=0.15)
    assert max(found["rmp"], found["dmap"], found["red-diff"]) < min(0.95, 0.8 * found["pseudo-inverse"])


def test_red_diff_weighs_the_prior_by_the_noise_to_signal_ratio():
    """lam = 0 leaves mu at A^+ y, where the data have no slope. The first step by hand."""
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), 0.3)
    measurement = degrade(torch.ones(2, *SHAPE, dtype=torch.float64), SuperResolution(2), 0.1)
    start = PseudoInverse().estimate(measurement, prior)
    torch.testing.assert_close(RedDiff(5, lam=0.0).estimate(measurement, prior), start)
    # Adam's first step is lr times the sign of the gradient, that of eps - e at t = T - 1 where the data have no slope.
    t = torch.full((2,), 999)
    e = measurement.streams.at("stage1").at_step(t).normal(SHAPE).double()
    eps = prior.denoise(prior.schedule.add_noise(start, e, t), t).eps
    torch.testing.assert_close(
        RedDiff(1, lr=0.1).estimate(measurement, prior), start - 0.1 * torch.sign(eps - e), atol=1e-4, rtol=0
    )


def test_chains_fit_a_prior_with_fewer_timesteps():
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE), 0.3, schedule=Schedule.linear(50, 2e-3, 0.3))
    measurement = degrade(torch.zeros(2, *SHAPE), Denoise(), 0.1)
    assert RmpEstimator(num_steps=50).estimate(measurement, prior).shape == (2, *SHAPE)
    with pytest.raises(ValueError, match="steps must be between 1 and the number of timesteps 50, got 1000"):
        RmpEstimator().estimate(measurement, prior)


def test_red_diff_refuses_zero_snr():
    """Its weight is sigma / alpha."""
    prior, measurement = PIXEL.prior(), PIXEL.measure(1)
    alpha = prior.schedule.alpha_table[:-1].clone()
    alpha[-1] = 0.0
    prior.schedule = Schedule(alpha, prior.schedule.sigma_table[:-1])
    with pytest.raises(ValueError, match="RedDiff divides by alpha, which is 0 at timestep 999"):
        RedDiff(5).estimate(measurement, prior)
