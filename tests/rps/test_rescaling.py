"""A diffusion of x_t and one of c_t x_t are the same: what every sampler returns for the second is c_t' times what it
returns for the first, in pixel space and in the latent space of an autoencoder. So published settings, which are of
DDPM, mean the same for EDM (c = 1 / alpha) and for flow matching (c = 1 / (alpha + sigma)), and nothing assumes
alpha^2 + sigma^2 = 1."""

import pytest
import torch

from rps.samplers import Dps, Ldir, PiGdm, ReSample, VsDps
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import correlated_prior
from tests.rps.solvers import ESTIMATORS, WORLDS
from tests.rps.solvers import SAMPLERS as EVERY

T, T_NEXT = torch.tensor([900, 500, 20, 0]), torch.tensor([700, 499, 5, CLEAN])
PLAIN = correlated_prior()
ALPHA, SIGMA = PLAIN.schedule.alpha_table[:-1], PLAIN.schedule.sigma_table[:-1]
PIXEL_ONLY = {(name, "latent") for name in ("Ddnm", "Ddrm", "DiffPir", "Dmps", "PiGdm")}
SCALES = {"alpha is 1": 1 / ALPHA, "alpha + sigma is 1": 1 / (ALPHA + SIGMA)}
SAMPLERS = EVERY | {
    "PiGdm as published": PiGdm(update="published"),
    "VsDps blended": VsDps(0.5, blend=True),
    "Dps with decay": Dps(decay=True),
    "Ldir without decay": Ldir(decay=False),
    "ReSample at every step": ReSample(period=1, pixel_steps=4, latent_steps=4),
}
PLACES = [(name, space) for name in SAMPLERS for space in WORLDS if (name.split()[0], space) not in PIXEL_ONLY]


def rescaled(scale, world):
    prior = world.prior()
    prior.schedule = Schedule(ALPHA * scale, SIGMA * scale)
    return prior


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "space"), PLACES)
def test_a_step_of_rescaled_noise_is_the_same_step(name, space, scale):
    world, sampler = WORLDS[space], SAMPLERS[name]
    factor = torch.cat([SCALES[scale], torch.ones(1)])  # CLEAN is not rescaled
    x = torch.randn(4, *world.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    measurement = world.measure()
    streams = measurement.streams.at_step(T)
    plain = sampler.step(x.clone(), T, T_NEXT, measurement, world.prior(), streams)
    c, c_next = (factor[t].view(-1, 1, 1, 1) for t in (T, T_NEXT))
    other = sampler.step(c * x, T, T_NEXT, measurement, rescaled(SCALES[scale], world), streams)
    torch.testing.assert_close(other / c_next, plain, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("space", WORLDS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimate_does_not_depend_on_the_scale(name, space, scale):
    world = WORLDS[space]
    priors = world.prior(), rescaled(SCALES[scale], world)
    plain, other = (ESTIMATORS[name].estimate(world.measure(), prior) for prior in priors)
    torch.testing.assert_close(other, plain, atol=1e-6, rtol=1e-6)
