"""A diffusion of x_t and one of c_t x_t are the same: every sampler makes of the second c_t' times what it makes of the
first. So published settings, which are of DDPM, mean the same for EDM (c = 1 / alpha) and for flow matching
(c = 1 / (alpha + sigma)), and nothing assumes alpha^2 + sigma^2 = 1."""

import pytest
import torch

from rps.samplers import Dps, PiGdm, VsDps
from rps.schedule import CLEAN, Schedule
from tests.rps.gaussian import SHAPE, correlated_prior
from tests.rps.solvers import ESTIMATORS, measure
from tests.rps.solvers import SAMPLERS as EVERY

T, T_NEXT = torch.tensor([900, 500, 20, 0]), torch.tensor([700, 499, 5, CLEAN])
PLAIN = correlated_prior()
ALPHA, SIGMA = PLAIN.schedule.alpha_table[:-1], PLAIN.schedule.sigma_table[:-1]
SCALES = {"alpha is 1": 1 / ALPHA, "alpha + sigma is 1": 1 / (ALPHA + SIGMA)}
PIXEL = ["Daps", "Ddnm", "Ddrm", "DiffPir", "Dmap", "Dmps", "Dps", "ExactPosterior", "PiGdm", "Sitcom", "VsDps"]
SAMPLERS = {name: EVERY[name] for name in PIXEL} | {
    "PiGdm as published": PiGdm(update="published"),
    "VsDps blended": VsDps(0.5, blend=True),
    "Dps with decay": Dps(decay=True),
}


def rescaled(scale):
    prior = correlated_prior()
    prior.schedule = Schedule(ALPHA * scale, SIGMA * scale)
    return prior


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_of_rescaled_noise_is_the_same_step(name, scale):
    factor = torch.cat([SCALES[scale], torch.ones(1)])  # CLEAN is not rescaled
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    measurement = measure()
    streams = measurement.streams.at_step(T)
    plain = SAMPLERS[name].step(x.clone(), T, T_NEXT, measurement, PLAIN, streams)
    c, c_next = (factor[t].view(-1, 1, 1, 1) for t in (T, T_NEXT))
    other = SAMPLERS[name].step(c * x, T, T_NEXT, measurement, rescaled(SCALES[scale]), streams)
    torch.testing.assert_close(other / c_next, plain, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimate_does_not_depend_on_the_scale(name, scale):
    plain, other = (ESTIMATORS[name].estimate(measure(), prior) for prior in (PLAIN, rescaled(SCALES[scale])))
    torch.testing.assert_close(other, plain, atol=1e-6, rtol=1e-6)
