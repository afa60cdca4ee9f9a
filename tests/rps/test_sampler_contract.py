"""What every sampler of the package keeps to, whatever it does; a new one is tested by being there.

Each in pixel space, and in the latent space of an autoencoder unless it refuses, in a sentence, to work there.
"""

import inspect
import itertools
import re
from dataclasses import replace

import pytest
import torch

from rps.operators import Denoise, Inpaint, Operator, SuperResolution
from rps.priors.counted import CountedPrior
from rps.samplers import Daps, Dmps, PiGdm
from rps.samplers.chains import Chain, run_chains
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import correlated_prior
from tests.rps.solvers import LATENT, PIXEL, SAMPLERS, WORLDS, ForwardOnly, close, measure, peeks, statement

T, T_NEXT = torch.tensor([900, 500, 20, 0]), torch.tensor([700, 499, 5, CLEAN])


def start(n: int = 4, world=PIXEL) -> torch.Tensor:
    return torch.randn(n, *world.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def step(sampler, measurement, x=None, prior=None, rows=None, world=PIXEL):
    """One step of four rows that stand at different times, or of some of them."""
    rows = torch.arange(4) if rows is None else rows
    prior, x = prior or world.prior(), start(world=world) if x is None else x
    part = measurement.rows(rows)
    return sampler.step(x[rows].clone(), T[rows], T_NEXT[rows], part, prior, part.streams.at_step(T[rows]))


LATENT_TOO = [name for name, s in SAMPLERS.items() if LATENT.takes(lambda w, s=s: step(s, w.measure(), world=w))]


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


@pytest.fixture(
    params=[*((name, "pixel") for name in SAMPLERS), *((name, "latent") for name in LATENT_TOO)], ids="-".join
)
def solver(request):
    """(sampler, world)"""
    name, world = request.param
    return SAMPLERS[name], WORLDS[world]


def test_only_those_of_linear_equations_in_pixels_refuse_a_latent_model():
    assert set(SAMPLERS) - set(LATENT_TOO) == {"Ddnm", "Ddrm", "DiffPir", "Dmps", "PiGdm"}


def test_a_row_is_what_it_is_alone(solver):
    """In any batch, in any order, at whatever times the rows beside it stand."""
    sampler, world = solver
    whole = step(sampler, world.measure(), world=world)
    assert whole.shape == (4, *world.shape) and whole.dtype == torch.float64
    for rows in ([2], [3], [3, 0, 2, 1], [1, 1]):
        index = torch.tensor(rows)
        assert close(step(sampler, world.measure(), rows=index, world=world), whole[index])
    none = torch.tensor([], dtype=torch.int64)
    assert step(sampler, world.measure(), rows=none, world=world).shape == (0, *world.shape)


def test_noise_is_a_function_of_the_id(solver):
    sampler, world = solver
    measurement = world.measure()
    whole = step(sampler, measurement, world=world)
    assert torch.equal(step(sampler, measurement, world=world), whole)
    others = replace(measurement, streams=measurement.streams.at("another"))
    moved = (step(sampler, others, world=world)[:3] - whole[:3]).flatten(1).norm(dim=1)
    assert moved.min() > 1e-6 and moved.max() > 1e-3


def test_a_row_that_is_not_a_number_leaves_the_others_alone(solver):
    sampler, world = solver
    measurement = world.measure()
    good, y = step(sampler, measurement, world=world), measurement.y.clone()
    y[1] = float("nan")
    assert close(step(sampler, replace(measurement, y=y), world=world)[[0, 2, 3]], good[[0, 2, 3]])
    x = start(world=world)
    x[0] = float("inf")
    assert close(step(sampler, measurement, x, world=world)[1:], good[1:])


def test_no_gradient_stays_behind(solver):
    """x' carries no graph, x and the prior's parameters get no gradient, and x is not written to."""
    sampler, world = solver
    prior, x, measurement = world.prior(), start(world=world), world.measure()
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            given = x.clone().requires_grad_()
            moved = sampler.step(given, T, T_NEXT, measurement, prior, measurement.streams.at_step(T))
        assert not moved.requires_grad
        assert given.grad is None and torch.equal(given, x)
        assert all(p.grad is None for p in prior.parameters())
    assert torch.equal(measurement.y, world.measure().y)


def test_the_network_is_differentiated_as_documented(solver):
    """Who says that it is not never makes the graph that a gradient would need, whatever the caller does."""
    sampler, world = solver
    prior, measurement = world.prior(), world.measure()
    with torch.enable_grad():
        sampler.step(start(world=world).requires_grad_(), T, T_NEXT, measurement, prior, measurement.streams.at_step(T))
    assert statement(sampler) is any(prior.differentiated)


def test_the_noise_of_the_measurement_is_a_secret(solver):
    sampler, world = solver
    assert peeks(lambda measurement: step(sampler, measurement, world=world), world.measure()) == []


def test_network_calls_are_as_documented(solver):
    """In a step that does not end the chain, and over a chain, by counting."""
    sampler, world = solver
    counted, measurement = CountedPrior(world.prior()), world.measure(2)
    for steps in (1, 3):
        timesteps = [900, 400, 30][:steps]
        chain = Chain(start(2, world), timesteps, measurement.streams, sampler)
        before = counted.calls
        _, calls = run_chains([chain], measurement, counted)
        assert calls == [sampler.network_calls(steps)]
        assert counted.calls - before == 2 * sampler.network_calls(steps)


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.5)])
def test_finite_on_extreme_input(solver, operator):
    """A measurement of 10^6 without any noise, single precision, down to the clean image."""
    sampler, world = solver
    measurement = world.measure(operator=operator, noise_std=0.0)
    measurement = replace(measurement, y=1e6 * torch.sign(measurement.y).float())
    x = step(sampler, measurement, start(world=world).float(), world=world)
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()


def test_nonlinear_operators_work_or_are_refused_in_a_sentence(sampler):
    class Clipped(Operator):
        def forward(self, x):
            return (2 * x).clamp(-1, 1)

    x, refusal = torch.zeros(1), "needs a LinearOperator"
    try:
        x = step(sampler, measure(operator=Clipped()))
    except ValueError as error:
        refusal = str(error)
    assert torch.isfinite(x).all() and re.search("needs a (linear operator|LinearOperator)", refusal)


@pytest.mark.parametrize("noise_std", [0.0, 0.2])
def test_an_operator_with_forward_alone_gives_the_same(sampler, noise_std):
    closed, found = (
        step(sampler, measure(operator=a, noise_std=noise_std)) for a in (SuperResolution(2), ForwardOnly())
    )
    assert close(found, closed, 1e-4)


def test_it_can_be_made_again_with_another_setting(sampler):
    """Every argument of a constructor is an attribute of its name, and what the constructor refuses is refused."""
    again = sampler.replace()
    assert type(again) is type(sampler) and vars(again) == vars(sampler)
    for name, parameter in inspect.signature(type(sampler)).parameters.items():
        if parameter.annotation == "float":
            value = 0.5 * getattr(sampler, name)
            assert getattr(sampler.replace(**{name: value}), name) == value
            with pytest.raises(ValueError, match=name):
                sampler.replace(**{name: float("nan")})
    with pytest.raises(ValueError, match="has no setting 'nothing'; its settings are"):
        sampler.replace(nothing=1.0)


def test_its_timesteps_descend_from_where_it_was_told(sampler):
    schedule = correlated_prior().schedule
    for t0, steps in itertools.product([0, 1, 2, 300, 1000], [None, 1, 10, 1000]):
        timesteps = sampler.timesteps(schedule, t0, steps)
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert all(0 <= t < max(t0, 1) for t in timesteps)
        assert (timesteps[:1] == [t0 - 1] or t0 == 1000) if t0 else not timesteps


def test_a_chain_from_zero_snr_is_finite_or_refused(solver):
    """alpha = 0 at the first timestep, as in models that predict v with rescaled betas."""
    sampler, world = solver
    prior, measurement = world.prior(), world.measure(2)
    alpha, sigma = prior.schedule.alpha_table[:-1].clone(), prior.schedule.sigma_table[:-1].clone()
    alpha[-1], sigma[-1] = 0.0, 1.0
    prior.schedule = Schedule(alpha, sigma)
    if isinstance(sampler, Dmps | PiGdm):
        with pytest.raises(ValueError, match="divides by alpha, which is 0 at timestep 999"):
            sampler.timesteps(prior.schedule, 1000, 5)
        return
    timesteps = sampler.timesteps(prior.schedule, 1000, 5)
    if isinstance(sampler, Daps):
        timesteps = [999, *timesteps[1:]]  # its own grid begins below
    start = Chain.renoised(
        torch.zeros(2, *world.shape).double(), timesteps, measurement.streams, prior.schedule, sampler
    )
    ((x,), _) = run_chains([start], measurement, CountedPrior(prior))
    assert timesteps[0] == 999 and torch.isfinite(x).all()
