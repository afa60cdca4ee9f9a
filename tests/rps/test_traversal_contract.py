"""What every traversal of the package keeps to, for pixel and for latent models; a new one is tested by being there."""

import itertools
from dataclasses import replace

import pytest
import torch

from rps.operators import Denoise, Inpaint, SuperResolution
from tests.rps.solvers import TRAVERSALS, WORLDS, close, peeks


@pytest.fixture(params=itertools.product(TRAVERSALS, WORLDS), ids="-".join)
def solver(request):
    """(traversal, world)"""
    name, world = request.param
    return TRAVERSALS[name], WORLDS[world]


def test_what_it_returns(solver):
    traversal, world = solver
    result = traversal.run(world.measure(), world.prior())
    assert result.knob == traversal.knob and list(result.levels) == list(traversal.levels)
    for values in (result.images, result.network_calls, result.seconds):
        assert list(values) == list(traversal.levels)
    for image in result.images.values():
        assert image.shape == (4, *world.prior().image_shape) and image.dtype == torch.float64
        assert torch.isfinite(image).all() and not image.requires_grad
    for level, spread in result.spread.items():
        assert level in traversal.levels and spread.shape == (4, *world.prior().image_shape) and (spread >= 0).all()
    assert all(seconds >= 0 for seconds in result.seconds.values())


def test_an_image_is_what_it_is_alone(solver):
    """In any batch and order, and however many images one network call takes."""
    traversal, world = solver
    whole = traversal.run(world.measure(), world.prior())
    for rows in ([2], [3, 0, 2, 1]):
        index = torch.tensor(rows)
        part = traversal.run(world.measure().rows(index), world.prior())
        for level in traversal.levels:
            assert close(part.images[level], whole.images[level][index])
        for level in whole.spread:
            assert close(part.spread[level], whole.spread[level][index])
    traversal.micro_batch = 3
    small = traversal.run(world.measure(), world.prior())
    traversal.micro_batch = None
    for level in traversal.levels:
        assert close(small.images[level], whole.images[level])
        assert torch.equal(small.network_calls[level], whole.network_calls[level])
    assert traversal.run(world.measure().rows(slice(0, 0)), world.prior()).images[traversal.levels[0]].shape == (
        0,
        *world.prior().image_shape,
    )


def test_random_numbers_are_a_function_of_the_id(solver):
    traversal, world = solver
    measurement = world.measure()
    first, second = (traversal.run(measurement, world.prior()) for _ in range(2))
    other = traversal.run(replace(measurement, streams=measurement.streams.at("another")), world.prior())
    for level in traversal.levels:
        assert torch.equal(first.images[level], second.images[level])
    assert any(not close(other.images[level], first.images[level], 1e-4) for level in traversal.levels)


def test_an_image_that_is_not_a_number_leaves_the_others_alone(solver):
    traversal, world = solver
    measurement = world.measure()
    good, y = traversal.run(measurement, world.prior()), measurement.y.clone()
    y[1] = float("nan")
    broken = traversal.run(replace(measurement, y=y), world.prior())
    for level in traversal.levels:
        assert close(broken.images[level][[0, 2, 3]], good.images[level][[0, 2, 3]])
        assert not torch.isfinite(broken.images[level][1]).all()


def test_network_calls_are_as_documented(solver):
    """What was announced, what was reported while it ran, what the result says, and what a level costs alone."""
    traversal, world = solver
    prior, reported = world.prior(), []
    result = traversal.run(world.measure(3), prior, lambda what, calls: reported.append(calls))
    announced = traversal.network_calls_per_image(prior)
    assert result.total_network_calls.tolist() == [announced] * 3
    assert sum(reported) == 3 * announced
    for level in traversal.levels:
        assert len(set(result.network_calls[level].tolist())) == 1
        assert 0 <= int(result.network_calls[level][0]) <= announced
    assert sum(result.seconds.values()) > 0


def test_no_gradient_stays_behind(solver):
    traversal, world = solver
    prior, measurement = world.prior(), world.measure()
    traversal.run(measurement, prior)
    assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(measurement.y, world.measure().y)


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_finite_on_extreme_input(solver, operator):
    """A measurement of 10^6 without any noise, single precision."""
    traversal, world = solver
    measurement = world.measure(operator=operator, noise_std=0.0)
    measurement = replace(measurement, y=1e6 * torch.sign(measurement.y).float())
    for image in traversal.run(measurement, world.prior()).images.values():
        assert image.dtype == torch.float32
        assert torch.isfinite(image).all()


def test_the_noise_of_the_measurement_is_a_secret(solver):
    traversal, world = solver
    assert peeks(lambda measurement: traversal.run(measurement, world.prior()), world.measure()) == []
