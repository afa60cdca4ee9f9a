"""Noise: its law, and that it is a function of (seed, id)."""

import math

import pytest
import torch

from rps.measurement import Measurement, degrade, measured
from rps.noise import Gaussian, Noise, Poisson, poisson_quantile
from rps.operators import Denoise, SuperResolution
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


def test_std_is_that_of_middle_grey():
    y = degrade(torch.zeros(64, *SHAPE), Denoise(), Poisson(20.0)).y
    assert Poisson(20.0).std == pytest.approx(math.sqrt(0.1))
    assert y.std() == pytest.approx(Poisson(20.0).std, rel=0.02)


@pytest.mark.parametrize("noise", [Poisson(30.0), Gaussian(0.2)])
def test_same_id_same_bits_in_any_batch(noise):
    x, ids = images(), [f"s{i}" for i in range(8)]
    whole = degrade(x, SuperResolution(2), noise, ids, seed=3)
    for order in ([5], [7, 1, 4]):
        part = degrade(x[order], SuperResolution(2), noise, [ids[i] for i in order], seed=3)
        assert torch.equal(part.y, whole.y[order]) and part.noise is noise and part.noise_std == noise.std
        assert torch.equal(whole.rows(torch.tensor(order)).y, part.y) and whole.rows(slice(0, 1)).noise is noise
    assert not torch.equal(degrade(x, SuperResolution(2), noise, ids, seed=4).y, whole.y)
    assert degrade(x[:0], SuperResolution(2), noise, []).y.shape == (0, 3, 8, 8)


def test_a_number_is_gaussian_noise():
    x = images()
    one, other = degrade(x, Denoise(), 0.3), degrade(x, Denoise(), Gaussian(0.3))
    assert torch.equal(one.y, other.y) and one.noise_std == 0.3 and isinstance(one.noise, Gaussian)
    normal = Streams(0, [str(i) for i in range(8)]).at("measurement").normal(SHAPE)
    assert torch.equal(one.y, x + 0.3 * normal)
    alone = Measurement(one.y, one.operator, 0.3, SHAPE, one.streams)
    assert isinstance(alone.noise, Gaussian) and alone.noise.std == 0.3


def test_measured_knows_its_noise():
    noise = Poisson(50.0)
    measurement = measured(images(), Denoise(), noise, SHAPE)
    assert measurement.noise is noise and measurement.noise_std == noise.std
    assert torch.equal(measurement.y, images())


def test_light_below_black_is_none_and_what_is_no_number_stays_so():
    x = torch.tensor([-1.5, float("nan"), float("inf")]).view(1, 1, 1, 3)
    y = Poisson(10.0).add(x, Streams(0, ["a"]))
    assert y[..., 0] == -1 and not y[..., 1:].isfinite().any()


def test_empty_batch():
    assert Poisson(10.0).add(torch.zeros(0, 2, 3), Streams(0, [])).shape == (0, 2, 3)


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
