"""The MAP estimator on Gaussian priors, where the MAP is the posterior mean."""

import math

import pytest
import torch

from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.priors import GaussianMixturePrior
from tests.rps.gaussian import SHAPE

VARIANCE, NOISE = 0.25, 0.3
TASKS = {"denoise": Denoise(), "sr2": SuperResolution(2), "inpaint": Inpaint(keep=0.5)}


def relative_gap(operator, weight_decay=0.0, t1=10, **options) -> float:
    """||x_MAP - x_MMSE|| / ||x_MMSE|| over 64 images, with the exact weight w* of method.md section 2."""
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), VARIANCE)
    generator = torch.Generator().manual_seed(0)
    x = VARIANCE**0.5 * torch.randn(64, *SHAPE, generator=generator, dtype=torch.float64)
    measurement = degrade(x, operator, NOISE)
    abar = prior.schedule.alpha(t1) ** 2
    r2 = VARIANCE * (1 - abar) / (1 - abar + abar * VARIANCE)
    w = 2 * NOISE**2 * math.sqrt(1 - abar) / (r2 * math.sqrt(abar))
    estimate = MapEstimator(t1=t1, w=w, weight_decay=weight_decay, **options).estimate(measurement, prior)
    mean = prior.posterior(measurement).mean().view_as(x)
    return float((estimate - mean).norm() / mean.norm())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "term", "num_steps", "draws"),
    [("sr2", "published", 400, 4), *((task, "control_variate", 200, 2) for task in TASKS)],
)
def test_converges_to_the_posterior_mean(task, term, num_steps, draws):
    """Within 2 % given 400 iterations of 4 draws of the published prior term, or 200 of 2 of the variance-reduced."""
    gap = relative_gap(TASKS[task], num_steps=num_steps, lr=0.05, draws=draws, prior_term=term)
    print(f"{task} {term}: {gap:.4f}")
    assert gap < 0.02


@pytest.mark.parametrize("task", TASKS)
def test_published_setting_has_the_recorded_gap(task):
    """N = 60, lr .5, one draw, weight decay .01 (method.md section 5.5): its own gap, recorded in docs/embedded.md."""
    gap = relative_gap(TASKS[task], num_steps=60, lr=0.5, weight_decay=0.01, prior_term="published")
    print(f"{task}: {gap:.4f}")
    assert 0.005 < gap < 0.2


def test_prior_terms_have_one_expectation():
    """At a fixed x, the mean of many draws is the same for the three terms, within 4 standard errors."""
    from rps.estimators.map import PriorGradient

    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), VARIANCE)
    x = torch.full((2000, *SHAPE), 0.3, dtype=torch.float64)
    measurement = degrade(x, Denoise(), NOISE)
    draws = {}
    for term in ("published", "centred", "control_variate"):
        gradient = PriorGradient(term, 200, 1, measurement, prior)
        draws[term] = torch.stack([gradient(x, step) for step in range(8)]).mean(0).flatten(1).mean(1)
    for term in ("centred", "control_variate"):
        difference = draws[term] - draws["published"]
        assert abs(difference.mean()) < 4 * difference.std() / len(x) ** 0.5, term


def test_control_variate_has_the_least_variance_on_broad_and_on_narrow_priors():
    from rps.estimators.map import PriorGradient

    def spread(term, variance):
        prior = GaussianMixturePrior(torch.zeros(1, *SHAPE, dtype=torch.float64), variance)
        x = torch.zeros(64, *SHAPE, dtype=torch.float64)
        gradient = PriorGradient(term, 200, 1, degrade(x, Denoise(), NOISE), prior)
        return torch.stack([gradient(x, step) for step in range(40)])[20:].std(0).mean()

    broad = {term: spread(term, 4.0) for term in ("published", "centred", "control_variate")}
    narrow = {term: spread(term, 0.01) for term in ("published", "centred", "control_variate")}
    assert broad["published"] < broad["centred"] and narrow["centred"] < narrow["published"]
    assert broad["control_variate"] < broad["published"] and narrow["control_variate"] < narrow["centred"]


def test_automatic_weight():
    """42.66 sigma_y^2 at t1 = 10 of the linear DDPM schedule (method.md section 2)."""
    prior = GaussianMixturePrior(torch.zeros(1, *SHAPE), VARIANCE)
    assert MapEstimator(t1=10, w_factor=1.0).weight(0.5, prior) == pytest.approx(42.66 * 0.25, rel=1e-3)
    assert MapEstimator(w=0.7).weight(0.5, prior) == 0.7


def test_bad_settings_are_told():
    with pytest.raises(ValueError, match="t1 must be a timestep"):
        MapEstimator(t1=1000).estimate(
            degrade(torch.zeros(1, *SHAPE), Denoise(), 0.1), GaussianMixturePrior(torch.zeros(1, *SHAPE), 1.0)
        )
    with pytest.raises(ValueError, match="prior_term"):
        MapEstimator(prior_term="best")  # type: ignore[arg-type]
