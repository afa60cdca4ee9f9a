"""check_sampler finds what is wrong, and nothing where nothing is."""

import re

import pytest
import torch

from rps.measurement import degrade
from rps.operators import Inpaint, SuperResolution
from rps.samplers import Dps, ExactPosterior, PiGdm, Sampler, check_sampler
from rps.samplers.reverse import reverse_step
from rps.schedule import CLEAN
from rps.traversals import MapRps
from tests.rps.gaussian import SHAPE, correlated_prior
from tests.rps.test_low_rank_mixture import low_rank


class Unguided(Sampler):
    """Ancestral sampling, right; the samplers below spoil it in one way each."""

    def step(self, x, t, t_next, measurement, prior, noise):
        with torch.no_grad():
            return reverse_step(self.denoised(x, t, measurement, prior), t, t_next, prior.schedule, noise)

    def denoised(self, x, t, measurement, prior):
        return prior.denoise(x, t)


class Flat(Unguided):
    def step(self, x, *others):
        return super().step(x, *others).flatten(1)


class Crops(Unguided):
    def step(self, x, *others):
        return super().step(x, *others)[:, :, :16]


class Single(Unguided):
    def step(self, x, *others):
        return super().step(x, *others).float()


class GlobalNoise(Unguided):
    def step(self, x, *others):
        return super().step(x, *others) + torch.randn_like(x)


class Counts(Unguided):
    """A step with a memory."""

    seen = 0

    def step(self, x, *others):
        self.seen += 1
        return super().step(x, *others) * (1 + 0.01 * self.seen)


class Remembers(Unguided):
    """A memory that has no effect yet."""

    last = None

    def __init__(self):
        self.last = None

    def step(self, x, *others):
        self.last = str(x.sum())
        return super().step(x, *others)


class InPlace(Unguided):
    def step(self, x, *others):
        return super().step(x.detach().mul_(0.5), *others)


class LeavesAGraph(Unguided):
    def step(self, x, t, t_next, measurement, prior, noise):
        return reverse_step(prior.denoise(x, t), t, t_next, prior.schedule, noise)


class Mixes(Unguided):
    def denoised(self, x, t, measurement, prior):
        return prior.denoise(x - 0.1 * x.mean(0), t)


class OneTime(Unguided):
    def denoised(self, x, t, measurement, prior):
        return prior.denoise(x, t[:1].expand(len(x)))


class SharesANorm(Unguided):
    """NaN in one row reaches the others by 0 * NaN."""

    def step(self, x, t, t_next, measurement, prior, noise):
        return super().step(x, t, t_next, measurement, prior, noise) + 0 * measurement.y.sum()


class NoEnd(Unguided):
    def step(self, x, t, t_next, measurement, prior, noise):
        _, sigma = prior.schedule.at(t_next, x)
        return super().step(x, t, t_next, measurement, prior, noise) * (sigma / sigma)


class ShortStepsOnly(Unguided):
    """Good at the end of a fine grid, not at that of a coarse one."""

    def step(self, x, t, t_next, measurement, prior, noise):
        far = ((t_next == CLEAN) & (t > 5)).view(-1, 1, 1, 1)
        return super().step(x, t, t_next, measurement, prior, noise).masked_fill(far, torch.inf)


class DividesByNoise(Unguided):
    def step(self, x, t, t_next, measurement, prior, noise):
        return super().step(x, t, t_next, measurement, prior, noise) + 1e-9 / torch.tensor(measurement.noise_std)


class CallsTwice(Unguided):
    def denoised(self, x, t, measurement, prior):
        prior.denoise(x, t)
        return prior.denoise(x, t)


class CountsWrong(Unguided):
    def network_calls(self, steps):
        return steps + 1


class Ascends(Unguided):
    def timesteps(self, schedule, t0, steps=None):
        return super().timesteps(schedule, t0, steps)[::-1]


class KnowsTheNoise(Unguided):
    """Takes the measurement's noise off again."""

    def denoised(self, x, t, measurement, prior):
        n = measurement.streams.at("measurement").normal(measurement.y.shape[1:]).to(x)
        clean = measurement.operator.adjoint(measurement.y.to(x) - measurement.noise_std * n)
        return prior.denoise(x + 0.01 * clean.nan_to_num(), t)


BROKEN = {
    Flat: r"step of samples 4 x 1 x 20 x 8 returns 4 x 160",
    Crops: r"step of samples 4 x 1 x 20 x 8 returns 4 x 1 x 16 x 8",
    Single: "step of torch.float64 samples returns torch.float32",
    GlobalNoise: "a different result the second time: draw only from noise",
    Counts: "a different result the second time: .*keep no state",
    Remembers: "changes an attribute of the sampler: keep no state",
    InPlace: "changes x or the measurement in place",
    LeavesAGraph: r"a graph behind: decorate it with @torch.no_grad\(\), or if it differentiates",
    Mixes: "mixes the rows of a batch",
    OneTime: "a row by itself, or in another order",
    SharesANorm: "a measurement of NaN changes the other rows|mixes the rows",
    NoEnd: "step from t = 0 to CLEAN returns values that are not finite",
    ShortStepsOnly: "the last step, from t = 899 to CLEAN, returns values that are not finite",
    DividesByNoise: r"not finite for y of 10\^6 and noise_std = 0",
    CallsTwice: r"network_calls\(1\) is 1, but a chain of that many steps makes 2 network calls per image",
    CountsWrong: r"network_calls\(1\) is 2, but a chain of that many steps makes 1",
    Ascends: r"timesteps\(schedule, t0=1000, steps=None\) must descend",
    KnowsTheNoise: "redraws the measurement's noise or operator from measurement.streams",
    Sampler: r"step\(...\) fails: NotImplementedError: Sampler must define step",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_wrong_is_said(broken):
    faults = check_sampler(broken())
    assert any(re.search(BROKEN[broken], fault) for fault in faults), faults
    assert len(faults) == 1, faults


@pytest.mark.parametrize("sampler", [Unguided(), Dps(), PiGdm()])
def test_nothing_is_wrong(sampler):
    """Of every sampler of the package see test_sampler_contract.py."""
    assert check_sampler(sampler) == []


@pytest.mark.parametrize("sampler", [PiGdm(), ExactPosterior()])
def test_nothing_is_wrong_in_another_world(sampler):
    """With another prior and an operator that differs from sample to sample."""
    assert check_sampler(sampler, low_rank(), Inpaint(0.5), noise_std=0.1) == []


def test_another_shape_ends_a_run():
    y = degrade(torch.zeros(2, *SHAPE), SuperResolution(2), 0.1)
    with pytest.raises(ValueError, match=r"Flat.step of samples \(2, 1, 4, 4\) must return .* got \(2, 16\)"):
        MapRps(100, sampler=Flat(), steps=5).run(y, correlated_prior())


def test_a_class_is_not_a_sampler():
    with pytest.raises(ValueError, match=r"sampler must be an rps.samplers.Sampler .* got the class Dps; call it"):
        check_sampler(Dps)


def test_a_sampler_that_does_not_take_the_operator_says_so():
    from rps.operators import HighDynamicRange

    (fault,) = check_sampler(PiGdm(), operator=HighDynamicRange())
    assert re.search("fails: ValueError: PiGdm needs a LinearOperator", fault)
    assert check_sampler(Dps(), operator=HighDynamicRange()) == []


def test_a_prior_with_guidance_is_counted_once():
    """Two evaluations of the network in one call: network_calls counts calls."""
    prior = correlated_prior(2)
    prior.evaluations = 2
    assert check_sampler(Dps(), prior) == []
