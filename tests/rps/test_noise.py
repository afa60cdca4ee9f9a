"""The law of each noise; what all of them keep to is in test_noise_contract.py."""

import math

import pytest
import torch

from rps.measurement import Measurement, degrade, measured
from rps.noise import Gaussian, Noise, Poisson, poisson_quantile
from rps.operators import Denoise
from rps.randomness import Streams

SHAPE = (3, 16, 16)


def images(n=8):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (0.0, 255.0), (1e3, 1e4), (1e6, 1.1e6)])
def test_the_quantile_is_scipys(low, high):
    poisson = pytest.importorskip("scipy.stats").poisson
    generator = torch.Generator().manual_seed(0)
    probability = (torch.randint(2**32, (5000,), generator=generator).double() + 0.5) * 2.0**-32
    probability[:2] = torch.tensor([2.0**-33, 1 - 2.0**-33], dtype=torch.float64)
    rate = low + (high - low) * torch.rand(5000, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(poisson.ppf(probability.numpy(), rate.numpy()))
    assert torch.equal(poisson_quantile(probability, rate), expected)


@pytest.mark.parametrize("peak", [0.5, 10.0, 255.0])
@pytest.mark.parametrize("value", [-1.0, -0.9, 0.0, 1.0])
def test_poisson_noise_counts_photons(value, peak):
    """Mean A(x) and variance 2 (A(x) + 1) / peak within 5 standard errors, on the grid of whole photons."""
    clean = torch.full((64, *SHAPE), value)
    y = degrade(clean, Denoise(), Poisson(peak)).y.double()
    photons = (y + 1) / 2 * peak
    assert (photons - photons.round()).abs().max() < 1e-4 * peak
    rate, n = peak * (value + 1) / 2, y.numel()
    assert abs(photons.mean() - rate) <= 5 * math.sqrt(rate / n)
    # The fourth central moment of a Poisson law is rate (1 + 3 rate).
    assert abs(photons.var() - rate) <= 5 * math.sqrt((rate * (1 + 3 * rate) - rate**2) / n)


def test_a_number_is_gaussian_noise():
    x = images()
    one, other = degrade(x, Denoise(), 0.3), degrade(x, Denoise(), Gaussian(0.3))
    assert torch.equal(one.y, other.y) and one.noise_std == 0.3 and isinstance(one.noise, Gaussian)
    normal = Streams(0, [str(i) for i in range(8)]).at("measurement").normal(SHAPE)
    assert torch.equal(one.y, x + 0.3 * normal)
    alone = Measurement(one.y, one.operator, 0.3, SHAPE, one.streams)
    assert isinstance(alone.noise, Gaussian) and alone.noise.std == 0.3
    assert torch.equal(degrade(x, Denoise(), 0).y, x)


def test_measured_knows_its_noise():
    noise = Poisson(50.0)
    measurement = measured(images(), Denoise(), noise, SHAPE)
    assert measurement.noise is noise and measurement.noise_std == noise.std
    assert torch.equal(measurement.y, images()) and measurement.rows(slice(0, 1)).noise is noise
    assert noise.std == pytest.approx(math.sqrt(2 / 50))


def test_light_below_black_is_none_and_what_is_no_number_stays_so():
    x = torch.tensor([-1.5, float("nan"), float("inf")]).view(1, 1, 1, 3)
    y = Poisson(10.0).add(x, Streams(0, ["a"]))
    assert y[..., 0] == -1 and not y[..., 1:].isfinite().any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Poisson(0.0), "peak must be > 0 photons, got 0.0"),
        (
            lambda: Gaussian(-0.1),
            r"noise must have a std >= 0 in \[-1, 1\] image units, got -0.1",
        ),
    ],
)
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_noise_must_say_how_it_is_added():
    with pytest.raises(NotImplementedError, match=r"must define add\(clean, streams\)"):
        Noise().add(torch.zeros(1, 1), Streams(0, ["a"]))
