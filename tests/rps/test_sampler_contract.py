"""What every sampler of the package keeps to: check_sampler, and what that does not look at. A new one is tested by
being there.

Each in pixel space, and in the latent space of an autoencoder unless it refuses, in a sentence, to work there.
"""

import inspect
import itertools
import re
from dataclasses import replace

import pytest
import torch

from rps.operators import Inpaint, Operator, SuperResolution
from rps.samplers import Daps, Ddim, Dmps, PiGdm, check_sampler
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import correlated_prior
from tests.rps.solvers import LATENT, PIXEL, SAMPLERS, WORLDS, ForwardOnly, chain, close, measure, statement

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


@pytest.mark.parametrize("operator", [SuperResolution(2), Inpaint(0.5)])
def test_check_sampler_finds_nothing(solver, operator):
    sampler, world = solver
    assert check_sampler(sampler, world.prior(), operator) == []


def test_a_row_can_be_asked_for_twice_and_none_at_all(solver):
    sampler, world = solver
    whole = step(sampler, world.measure(), world=world)
    twice = torch.tensor([1, 1])
    assert close(step(sampler, world.measure(), rows=twice, world=world), whole[twice])
    none = torch.tensor([], dtype=torch.int64)
    assert step(sampler, world.measure(), rows=none, world=world).shape == (0, *world.shape)


def test_another_id_has_other_noise(solver):
    sampler, world = solver
    measurement = world.measure()
    others = replace(measurement, streams=measurement.streams.at("another"))
    moved = step(sampler, others, world=world)[:3] - step(sampler, measurement, world=world)[:3]
    if isinstance(sampler, Ddim):  # deterministic
        assert not moved.any()
        return
    assert moved.flatten(1).norm(dim=1).min() > 1e-6 and moved.flatten(1).norm(dim=1).max() > 1e-3


def test_a_row_that_has_diverged_leaves_the_others_alone(solver):
    sampler, world = solver
    measurement, x = world.measure(), start(world=world)
    good = step(sampler, measurement, world=world)
    x[0] = float("inf")
    assert close(step(sampler, measurement, x, world=world)[1:], good[1:])


def test_the_network_is_differentiated_as_documented(solver):
    """Who says that it is not never makes the graph that a gradient would need, whatever the caller does."""
    sampler, world = solver
    prior, measurement = world.prior(), world.measure()
    with torch.enable_grad():
        sampler.step(start(world=world).requires_grad_(), T, T_NEXT, measurement, prior, measurement.streams.at_step(T))
    assert statement(sampler) is any(prior.differentiated)


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
    """Every argument of a constructor is an attribute of its name."""
    again = sampler.replace()
    assert type(again) is type(sampler) and vars(again) == vars(sampler)
    for name, parameter in inspect.signature(type(sampler)).parameters.items():
        if parameter.annotation == "float":
            value = 0.5 * getattr(sampler, name)
            assert getattr(sampler.replace(**{name: value}), name) == value
    with pytest.raises(ValueError, match="has no setting 'nothing'; its settings are"):
        sampler.replace(nothing=1.0)


def test_its_timesteps_begin_where_it_was_told(sampler):
    """Or anywhere where the chain starts from pure noise."""
    schedule = correlated_prior().schedule
    for t0, steps in itertools.product([0, 1, 2, 300, 1000], [None, 1, 10, 1000]):
        timesteps = sampler.timesteps(schedule, t0, steps)
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
    assert timesteps[0] == 999 and torch.isfinite(chain(sampler, measurement, prior, timesteps)).all()
