"""ChainAverage on a Gaussian prior, whose posterior is sampled exactly and whose posterior mean is known."""

import pytest
import torch

from rps.estimators import ChainAverage, PosteriorMean, ProximalMap, PseudoInverse
from rps.measurement import degrade
from rps.operators import Denoise, SuperResolution
from rps.priors.counted import CountedPrior
from rps.samplers import ExactPosterior
from rps.traversals import MapRps
from tests.rps.gaussian import DIM, correlated_prior, draw

N = 200


def error(x, measurement, prior):
    """Mean squared distance from the posterior mean, per image.  -> [N]."""
    return (x - PosteriorMean().estimate(measurement, prior)).square().flatten(1).mean(1)


@pytest.fixture(scope="module")
def world():
    prior = correlated_prior()
    return prior, degrade(draw(prior, N), SuperResolution(2), 0.3)


def average(chains):
    return ChainAverage(PseudoInverse(), ExactPosterior(), chains=chains, t0=1000, steps=2)


def test_the_error_falls_with_the_chains_below_that_of_both_parts(world):
    """E|x - E[x|y]|^2 = b^2 (v/K) / (b^2 + v/K) for exact chains, once K is large enough to estimate w well."""
    prior, measurement = world
    b2 = error(PseudoInverse().estimate(measurement, prior), measurement, prior)
    posterior = prior.posterior(measurement)
    v = float(posterior.trace().mean()) / DIM
    last = b2.mean()
    for chains in (2, 8, 32):
        found = error(average(chains).estimate(measurement, prior), measurement, prior)
        se = found.std() / N**0.5
        assert found.mean() + 3 * se < min(last, v / chains)
        last = found.mean()
    expected = (b2 * (v / chains) / (b2 + v / chains)).mean()
    assert abs(found.mean() - expected) < 3 * se + 0.05 * expected


def test_the_spread_is_the_standard_deviation_of_the_posterior(world):
    prior, measurement = world
    result = MapRps([0], average(8), ExactPosterior()).run(measurement, prior)
    v = result.spread[0].square().flatten(1).mean(1)
    expected = prior.posterior(measurement).trace() / DIM
    assert abs(v.mean() - expected.mean()) < 3 * v.std() / N**0.5
    assert MapRps([0], average(0), ExactPosterior()).run(measurement, prior).spread == {}


def test_without_chains_it_is_the_first_estimate(world):
    prior, measurement = world
    first = PseudoInverse().estimate(measurement, prior)
    assert torch.equal(average(0).estimate(measurement, prior), first)


def test_no_chain_runs_where_the_first_estimate_is_the_posterior_mean():
    prior = correlated_prior()
    measurement = degrade(draw(prior, 2), Denoise(), 0.3)
    counted = CountedPrior(prior)
    found = ChainAverage().estimate(measurement, counted)
    assert counted.cost.network_calls == 2
    assert torch.equal(found, ProximalMap().estimate(measurement, prior))


@pytest.mark.parametrize("chains", [-1, 1])
def test_one_chain_has_no_variance(chains):
    with pytest.raises(ValueError, match=r"chains must be 0, or at least 2 .*, got"):
        ChainAverage(chains=chains)
