"""What every estimator of the package keeps to, for pixel and for latent models; a new one is tested by being there."""

import itertools
from dataclasses import replace

import pytest
import torch

from rps.operators import Denoise, Inpaint, Operator, SuperResolution
from rps.priors.counted import CountedPrior
from tests.rps.solvers import ESTIMATORS, WORLDS, TrainablePrior, close, measure, peeks, statement


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return ESTIMATORS[request.param]


@pytest.fixture(params=itertools.product(ESTIMATORS, WORLDS), ids="-".join)
def solver(request):
    """(estimator, world)"""
    name, world = request.param
    return ESTIMATORS[name], WORLDS[world]


def test_an_image_is_what_it_is_alone(solver):
    estimator, world = solver
    measurement = world.measure()
    whole = estimator.estimate(measurement, world.prior())
    assert whole.shape == (4, *world.shape) and whole.dtype == torch.float64
    for rows in ([2], [3, 0, 2, 1]):
        index = torch.tensor(rows)
        assert close(estimator.estimate(measurement.rows(index), world.prior()), whole[index])
    assert estimator.estimate(measurement.rows(slice(0, 0)), world.prior()).shape == (0, *world.shape)


def test_random_numbers_are_a_function_of_the_id(solver):
    estimator, world = solver
    measurement = world.measure()
    first, second = (estimator.estimate(measurement, world.prior()) for _ in range(2))
    assert torch.equal(first, second)
    others = replace(measurement, streams=measurement.streams.at("another"))
    if estimator.network_calls:
        assert not close(estimator.estimate(others, world.prior()), first, 1e-4)


def test_an_image_that_is_not_a_number_leaves_the_others_alone(solver):
    estimator, world = solver
    measurement, prior = world.measure(), world.prior()
    good, y = estimator.estimate(measurement, prior), measurement.y.clone()
    y[1] = float("nan")
    broken = estimator.estimate(replace(measurement, y=y), prior)
    assert close(broken[[0, 2, 3]], good[[0, 2, 3]])
    assert not torch.isfinite(broken[1]).all()


def test_no_gradient_stays_behind(solver):
    estimator, world = solver
    prior, measurement = world.prior(), world.measure()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            assert not estimator.estimate(measurement, prior).requires_grad
        assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(measurement.y, world.measure().y)


def test_the_network_is_differentiated_as_documented(solver):
    estimator, world = solver
    prior = world.prior()
    with torch.enable_grad():
        estimator.estimate(world.measure(), prior)
    assert bool(statement(estimator)) is any(prior.differentiated)
    assert statement(estimator) is not None or not prior.differentiated


def test_the_noise_of_the_measurement_is_a_secret(solver):
    estimator, world = solver
    assert peeks(lambda measurement: estimator.estimate(measurement, world.prior()), world.measure()) == []


def test_network_calls_are_as_documented(solver):
    estimator, world = solver
    counted = CountedPrior(world.prior())
    estimator.estimate(world.measure(3), counted)
    assert counted.calls == 3 * estimator.network_calls


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_finite_on_extreme_input(solver, operator):
    """A measurement of 10^6 without any noise, single precision."""
    estimator, world = solver
    measurement = world.measure(operator=operator, noise_std=0.0)
    measurement = replace(measurement, y=1e6 * torch.sign(measurement.y).float())
    x = estimator.estimate(measurement, world.prior())
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
