"""check_prior finds what is wrong, and nothing where nothing is."""

import re

import pytest
import torch

from rps.priors import Denoised, EmbeddedPrior, EmpiricalPrior, Prior, check_prior
from rps.schedule import Schedule
from tests.rps.gaussian import correlated_prior
from tests.rps.test_low_rank_mixture import low_rank


class White(Prior):
    """x_0 ~ N(0, I), right; the priors below spoil it in one way each."""

    def __init__(self):
        super().__init__()
        self.schedule, self.sample_shape = Schedule.linear(), (1, 8, 8)

    def mean(self, x, t):
        alpha, sigma = self.schedule.at(t, x)
        return alpha * x / (alpha**2 + sigma**2)

    def denoise(self, x, t):
        return self.from_x0(x, self.mean(x, t), t)


class NoSchedule(White):
    def __init__(self):
        Prior.__init__(self)
        self.schedule, self.sample_shape = torch.linspace(0, 1, 10), (1, 8, 8)


class NoShape(White):
    def __init__(self):
        super().__init__()
        self.sample_shape = 8


class NoiseFirst(White):
    def __init__(self):
        super().__init__()
        table = torch.linspace(0.9, 0.1, 10)
        self.schedule = Schedule((1 - table**2).sqrt(), table)


class ZeroSnr(White):
    """alpha = 0 at the last timestep, of a prior that says x_0: right."""

    def __init__(self):
        super().__init__()
        self.schedule = Schedule(torch.linspace(1, 0, 10), torch.linspace(0.1, 1, 10))


class NoImageLeft(ZeroSnr):
    """The same of one that says eps, which determines nothing there."""

    def denoise(self, x, t):
        return self.from_eps(x, super().denoise(x, t).eps, t)


class CleanImage(White):
    def __init__(self):
        super().__init__()
        self.schedule = Schedule(torch.linspace(1, 0.1, 10), torch.linspace(0, 0.9, 10))


class TheImageAlone(White):
    def denoise(self, x, t):
        return self.mean(x, t)


class Pooled(White):
    def denoise(self, x, t):
        return Denoised(self.mean(x, t)[..., ::2], x)


class Single(White):
    def denoise(self, x, t):
        return self.from_x0(x.float(), self.mean(x, t).float(), t)


class DividesByTime(White):
    def mean(self, x, t):
        return super().mean(x, t) / t.view(-1, 1, 1, 1)


class EpsOfAnotherImage(White):
    def denoise(self, x, t):
        return Denoised(self.mean(x, t), torch.zeros_like(x))


class InPlace(White):
    def mean(self, x, t):
        return super().mean(x.mul_(0.5), t)


class Drops(White):
    def mean(self, x, t):
        return torch.nn.functional.dropout(super().mean(x, t), 0.1)


class Mixes(White):
    def mean(self, x, t):
        return super().mean(x, t) + 0.1 * x.mean(0)


class OneTime(White):
    """A solver that knows one time for the whole batch would do no harm here; rows that stand at others would."""

    def mean(self, x, t):
        return super().mean(x, t[:1].expand(len(x)))


class Normalised(White):
    """The batch's size."""

    def mean(self, x, t):
        return super().mean(x, t) / len(x)


class NoWay(White):
    @torch.no_grad()
    def mean(self, x, t):
        return super().mean(x, t)


class Rounds(White):
    def mean(self, x, t):
        return super().mean(x, t).round()


class WrongDecoder(White):
    def decode(self, sample):
        return sample.repeat_interleave(2, -1)


class WrongEncoder(White):
    def encode(self, image):
        return image[..., ::2]


class DetachedDecoder(White):
    def decode(self, sample):
        return sample.detach()


class Raises(White):
    def denoise(self, x, t):
        raise RuntimeError("no weights")


BROKEN = {
    NoSchedule: "schedule is Tensor: set self.schedule",
    NoShape: "sample_shape is 8: set self.sample_shape to three integers",
    NoiseFirst: "does not grow from t = 0 to t = 1",
    NoImageLeft: "x0 is not finite at t = 9",
    CleanImage: "sigma_t is not positive",
    TheImageAlone: "denoise returns Tensor: return a Denoised",
    Pooled: "x0 has shape 4 x 1 x 8 x 4, not that of the samples, 4 x 1 x 8 x 8",
    Single: "x0 of torch.float64 samples is torch.float32: keep the samples' dtype",
    DividesByTime: "x0 is not finite at t = 0",
    EpsOfAnotherImage: r"x0 and eps do not match: alpha x0 \+ sigma eps differs from x by",
    InPlace: "changes x or t in place",
    Drops: "not deterministic.*call self.eval",
    Mixes: "mixes the rows of a batch",
    OneTime: "a row by itself gives a different result .*which differs between rows",
    Normalised: "a row by itself gives a different result",
    NoWay: "x0 is not differentiable: autograd finds no path",
    Rounds: "gradient of x0 with respect to x is zero everywhere",
    WrongDecoder: "decode of samples 4 x 1 x 8 x 8 returns 4 x 1 x 8 x 16",
    WrongEncoder: "encode of images 4 x 1 x 8 x 8 returns 4 x 1 x 8 x 4",
    DetachedDecoder: "decode is not differentiable",
    Raises: r"denoise\(x, t\) fails: RuntimeError: no weights",
    Prior: "schedule is NoneType",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_wrong_is_said(broken):
    faults = check_prior(broken())
    assert any(re.search(BROKEN[broken], fault) for fault in faults), faults
    assert len(faults) == 1, faults


@pytest.mark.parametrize(
    "prior",
    [White, ZeroSnr, lambda: correlated_prior(2), low_rank, lambda: EmpiricalPrior(torch.rand(5, 3, 4, 4))],
    ids=["white", "zero SNR", "mixture", "low rank", "empirical"],
)
def test_nothing_is_wrong(prior):
    assert check_prior(prior()) == []


def test_nothing_is_wrong_with_a_network():
    assert check_prior(EmbeddedPrior()) == []
