"""What every estimator of the package keeps to; a new one is tested by being exported."""

from dataclasses import replace

import pytest
import torch

from rps import estimators
from rps.operators import Denoise, Inpaint, Operator, SuperResolution
from rps.priors.counted import CountedPrior
from tests.rps.gaussian import SHAPE
from tests.rps.solvers import TrainablePrior, close, exported, measure

ESTIMATORS = exported(estimators, estimators.Estimator)


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return ESTIMATORS[request.param]


def test_who_there_is():
    assert {"DmapEstimator", "MapEstimator", "PseudoInverse", "RedDiff", "RmpEstimator"} <= set(ESTIMATORS)


def test_an_image_is_what_it_is_alone(estimator):
    whole = estimator.estimate(measure(), TrainablePrior())
    assert whole.shape == (4, *SHAPE) and whole.dtype == torch.float64
    for rows in ([2], [3, 0, 2, 1]):
        index = torch.tensor(rows)
        assert close(estimator.estimate(measure().rows(index), TrainablePrior()), whole[index])
    assert estimator.estimate(measure().rows(slice(0, 0)), TrainablePrior()).shape == (0, *SHAPE)


def test_random_numbers_are_a_function_of_the_id(estimator):
    measurement = measure()
    first, second = (estimator.estimate(measurement, TrainablePrior()) for _ in range(2))
    assert torch.equal(first, second)
    others = replace(measurement, streams=measurement.streams.at("another"))
    if estimator.network_calls:
        assert not close(estimator.estimate(others, TrainablePrior()), first, 1e-4)


def test_an_image_that_is_not_a_number_leaves_the_others_alone(estimator):
    measurement, prior = measure(), TrainablePrior()
    good, y = estimator.estimate(measurement, prior), measurement.y.clone()
    y[1] = float("nan")
    broken = estimator.estimate(replace(measurement, y=y), prior)
    assert close(broken[[0, 2, 3]], good[[0, 2, 3]])
    assert not torch.isfinite(broken[1]).all()


def test_no_gradient_stays_behind(estimator):
    prior, measurement = TrainablePrior(), measure()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            assert not estimator.estimate(measurement, prior).requires_grad
        assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(measurement.y, measure().y)


def test_network_calls_are_as_documented(estimator):
    counted = CountedPrior(TrainablePrior())
    estimator.estimate(measure(3), counted)
    assert counted.calls == 3 * estimator.network_calls


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_finite_on_extreme_input(estimator, operator):
    """A measurement of 10^6 without any noise, single precision."""
    measurement = measure(operator=operator, noise_std=0.0)
    measurement = replace(measurement, y=1e6 * torch.sign(measurement.y).float())
    x = estimator.estimate(measurement, TrainablePrior())
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()


def test_nonlinear_operators_work_or_are_refused_in_a_sentence(estimator):
    class Clipped(Operator):
        def forward(self, x):
            return (2 * x).clamp(-1, 1)

    x, refusal = torch.zeros(1), "needs a LinearOperator"
    try:
        x = estimator.estimate(measure(operator=Clipped()), TrainablePrior())
    except ValueError as error:
        refusal = str(error)
    assert torch.isfinite(x).all() and "needs a LinearOperator" in refusal
