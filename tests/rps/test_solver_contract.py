"""What every estimator and every traversal of the package keeps to, for pixel and for latent models; a new one is
tested by being there."""

import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch

from rps.estimators import Estimator
from rps.operators import Denoise, Inpaint, Operator, SuperResolution
from rps.priors.counted import CountedPrior
from tests.rps.solvers import (
    ESTIMATORS,
    TRAVERSALS,
    WORLDS,
    TrainablePrior,
    World,
    close,
    measure,
    peeks,
    statement,
)


class Solver(NamedTuple):
    """An estimator or a traversal, and where it is tried."""

    method: Any
    world: World

    def __call__(self, measurement, prior=None) -> dict[Any, torch.Tensor]:
        """Images by level, and the spreads of those that have one; an estimate has no level."""
        prior = prior or self.world.prior()
        if isinstance(self.method, Estimator):
            return {None: self.method.estimate(measurement, prior)}
        result = self.method.run(measurement, prior)
        return {**result.images, **{("spread", level): spread for level, spread in result.spread.items()}}

    @property
    def calls(self) -> int | None:
        """Network calls per image that an estimator announces; a traversal may have none to announce."""
        schedule = self.world.prior().schedule
        return self.method.network_calls(schedule) if isinstance(self.method, Estimator) else None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one result: estimates are in the space of the prior's samples."""
        return self.world.shape if isinstance(self.method, Estimator) else self.world.prior().image_shape


ALL = {**ESTIMATORS, **TRAVERSALS}


def of(names):
    return pytest.mark.parametrize(
        "solver",
        [Solver(ALL[name], WORLDS[world]) for name, world in itertools.product(names, WORLDS)],
        ids=map("-".join, itertools.product(names, WORLDS)),
    )


every, every_estimator, every_traversal = of(ALL), of(ESTIMATORS), of(TRAVERSALS)


@every
def test_an_image_is_what_it_is_alone(solver):
    """In any batch and order; of no image there is none."""
    measurement = solver.world.measure()
    whole = solver(measurement)
    assert all(x.shape == (4, *solver.shape) and x.dtype == torch.float64 for x in whole.values())
    for rows in ([2], [3, 0, 2, 1]):
        part = solver(measurement.rows(torch.tensor(rows)))
        assert part.keys() == whole.keys() and all(close(part[level], x[rows]) for level, x in whole.items())
    assert all(x.shape == (0, *solver.shape) for x in solver(measurement.rows(slice(0, 0))).values())


@every
def test_random_numbers_are_a_function_of_the_id(solver):
    measurement = solver.world.measure()
    first, second = solver(measurement), solver(measurement)
    assert all(torch.equal(second[level], x) for level, x in first.items())
    other = solver(replace(measurement, streams=measurement.streams.at("another")))
    assert any(not close(other[level], x, 1e-4) for level, x in first.items()) or solver.calls == 0


@every
def test_an_image_that_is_not_a_number_leaves_the_others_alone(solver):
    measurement = solver.world.measure()
    good, y = solver(measurement), measurement.y.clone()
    y[1] = float("nan")
    broken = solver(replace(measurement, y=y))
    for level, x in good.items():
        assert close(broken[level][[0, 2, 3]], x[[0, 2, 3]])
        assert not torch.isfinite(broken[level][1]).all()


@every
def test_no_gradient_stays_behind(solver):
    prior, measurement = solver.world.prior(), solver.world.measure()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            assert not any(x.requires_grad for x in solver(measurement, prior).values())
        assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(measurement.y, solver.world.measure().y)


@every
def test_the_noise_of_the_measurement_is_a_secret(solver):
    assert peeks(solver, solver.world.measure()) == []


@every
@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_finite_on_extreme_input(solver, operator):
    """A measurement of 10^6 without any noise, single precision."""
    measurement = solver.world.measure(operator=operator, noise_std=0.0)
    for x in solver(replace(measurement, y=1e6 * torch.sign(measurement.y).float())).values():
        assert x.dtype == torch.float32 and torch.isfinite(x).all()


@every_estimator
def test_the_network_is_differentiated_as_documented(solver):
    prior = solver.world.prior()
    with torch.enable_grad():
        solver(solver.world.measure(), prior)
    assert bool(statement(solver.method)) is any(prior.differentiated)
    assert statement(solver.method) is not None or not prior.differentiated


@every_estimator
def test_network_calls_of_an_estimate_are_as_documented(solver):
    counted = CountedPrior(solver.world.prior())
    solver(solver.world.measure(3), counted)
    assert counted.cost.network_calls == 3 * solver.calls


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nonlinear_operators_work_or_are_refused_in_a_sentence(name):
    class Clipped(Operator):
        def forward(self, x):
            return (2 * x).clamp(-1, 1)

    x, refusal = torch.zeros(1), "needs a LinearOperator"
    try:
        x = ESTIMATORS[name].estimate(measure(operator=Clipped()), TrainablePrior())
    except ValueError as error:
        refusal = str(error)
    assert torch.isfinite(x).all() and "needs a LinearOperator" in refusal


@every_traversal
def test_what_a_traversal_returns_and_what_it_costs(solver):
    """Every level; calls as announced, as reported while it ran, and however many images one call takes."""
    traversal, world = solver.method, solver.world
    prior, reported = world.prior(), []
    result = traversal.run(world.measure(3), prior, lambda what, calls: reported.append(calls))
    assert result.knob == traversal.knob and list(result.levels) == list(traversal.levels)
    for values in (result.images, result.cost, result.seconds):
        assert list(values) == list(traversal.levels)
    assert all(torch.isfinite(x).all() for x in result.images.values())
    assert set(result.spread) <= set(traversal.levels) and all((x >= 0).all() for x in result.spread.values())
    assert all(seconds >= 0 for seconds in result.seconds.values()) and sum(result.seconds.values()) > 0
    announced = traversal.network_calls_per_image(prior)
    assert result.total_cost.network_calls == announced and sum(reported) == 3 * announced
    assert all(0 <= cost.network_calls <= announced for cost in result.cost.values())
    traversal.micro_batch = 2
    prior.rows.clear()
    small = traversal.run(world.measure(3), prior)
    traversal.micro_batch = None
    assert max(prior.rows) == 2
    for level in traversal.levels:
        assert close(small.images[level], result.images[level])
        assert small.cost[level].network_calls == result.cost[level].network_calls


@every_traversal
def test_a_level_alone_is_that_level_and_costs_what_is_said_of_it(solver):
    """What extends a run by levels relies on."""
    traversal, world = solver.method, solver.world
    whole = traversal.run(world.measure(3), world.prior())
    for level in traversal.levels if traversal.level_arguments else ():
        part, prior = traversal.only([level]), world.prior()
        alone = part.run(world.measure(3), prior)
        assert list(alone.levels) == [level] and close(alone.images[level], whole.images[level])
        assert alone.spread.keys() == whole.spread.keys() & {level}
        assert alone.total_cost.network_calls == alone.cost[level].network_calls == whole.cost[level].network_calls
        assert part.network_calls_per_image(prior) == alone.total_cost.network_calls
    assert list(traversal.levels) == list(whole.levels), "the traversal itself is unchanged"
