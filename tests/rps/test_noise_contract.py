"""What every noise of the package keeps to; a new one is tested by being there."""

import inspect
import math

import pytest
import torch

import rps.noise
from rps.noise import Gaussian, Noise
from rps.operators import Operator
from rps.randomness import Streams
from tests.rps.solvers import kinds


class Halves(Operator):
    """Stores multiples of 0.5."""

    rounding_std = 0.5 / math.sqrt(12)

    def forward(self, x):
        return x

    def stored(self, y):
        return (2 * y).round() / 2


ARGUMENTS = {
    "Gaussian": {"std": 0.3},
    "Estimated": {"std": 0.1},
    "Poisson": {"peak": 30.0},
    "Rounded": {"noise": Gaussian(0.5), "operator": Halves()},
}
"""Whoever is not named must be buildable without arguments."""

NOISES = {name: kind(**ARGUMENTS.get(name, {})) for name, kind in kinds(rps.noise, Noise).items()}
SHAPE = (3, 8, 8)


@pytest.fixture(params=NOISES)
def noise(request):
    return NOISES[request.param]


def clean(n: int = 4) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def streams(ids="abcd", seed=0) -> Streams:
    return Streams(seed, list(ids))


def test_a_row_is_a_function_of_its_id_and_its_image(noise):
    whole = noise.add(clean(), streams())
    assert torch.equal(noise.add(clean(), streams()), whole)
    for rows in ([2], [3, 0, 1]):
        assert torch.equal(noise.add(clean()[rows], streams(["abcd"[i] for i in rows])), whole[rows])
    for others in (streams("efgh"), streams(seed=1)):
        assert (noise.add(clean(), others) - whole).flatten(1).abs().amax(1).min() > 1e-3
    assert noise.add(clean(0), streams("")).shape == (0, *SHAPE)


def test_it_keeps_shape_and_precision_and_what_it_was_given(noise):
    for dtype in (torch.float32, torch.float64):
        x = clean().to(dtype)
        before = x.clone()
        y = noise.add(x, streams())
        assert y.shape == x.shape and y.dtype == dtype and torch.equal(x, before) and not y.requires_grad


def test_a_row_that_is_not_a_number_leaves_the_others_alone(noise):
    x = clean()
    good = noise.add(x, streams())
    for value in (math.nan, math.inf, -math.inf):
        x[1] = value
        assert torch.equal(noise.add(x, streams())[[0, 2, 3]], good[[0, 2, 3]])


@pytest.mark.parametrize("size", [1e-30, 1e6])
def test_finite_on_extreme_input(noise, size):
    y = noise.add((size * clean().sign()).float(), streams())
    assert y.dtype == torch.float32 and torch.isfinite(y).all()


def test_its_std_is_that_of_middle_grey(noise):
    """Of 2^14 numbers, within 5 standard errors sqrt((kurtosis - 1) / n) / 2 for a kurtosis of at most 4."""
    n = 64
    y = noise.add(torch.zeros(n, *SHAPE, dtype=torch.float64), streams(map(str, range(n))))
    assert abs(float(y.std()) / noise.std - 1) < 5 * math.sqrt(3 / y.numel()) / 2
    assert abs(float(y.mean())) < 5 * noise.std / math.sqrt(y.numel())


def test_it_is_documented(noise):
    for argument in inspect.signature(type(noise)).parameters:
        assert f"{argument}:" in inspect.getdoc(type(noise))
