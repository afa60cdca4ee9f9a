"""Standard errors and intervals: against analytic ones, and against what really varies from data set to data set."""

import math

import pytest
import torch

from rps.metrics import Statistics, frechet_distance, frechet_draws, means
from rps.metrics.intervals import weights


def gaussian(generator: torch.Generator, n: int, d: int) -> torch.Tensor:
    """n samples of a Gaussian with standard deviations from 1 down to .05."""
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.linspace(1, 0.05, d, dtype=torch.float64)


def test_weights_are_a_function_of_n_alone():
    first, second = (torch.cat(list(weights(11, 50))) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (50, 11)
    torch.testing.assert_close(first.sum(1), torch.full((50,), 11.0, dtype=torch.float64))


def test_large_sets_are_resampled_in_pieces():
    pieces = list(weights(3_000_000, 3))
    assert len(pieces) == 3 and all(float(piece.sum()) == pytest.approx(3_000_000) for piece in pieces)


def test_standard_error_of_a_mean():
    """s / sqrt(n); its estimate from B resamples is off by 1 / sqrt(2 B) = 2 %."""
    values = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0]) + 3
    for column, estimate in zip(values.mT, means(values), strict=True):
        se = column.std().item() / math.sqrt(400)
        assert estimate.value == pytest.approx(column.mean().item(), abs=1e-6)
        assert estimate.se == pytest.approx(se, rel=4 / math.sqrt(2 * 1000))
        # A quantile of B draws has a standard error of sqrt(p (1 - p) / B) / density = .084 se here.
        assert estimate.low == pytest.approx(estimate.value - 1.96 * se, abs=4 * 0.084 * se)
        assert estimate.high == pytest.approx(estimate.value + 1.96 * se, abs=4 * 0.084 * se)


@pytest.mark.parametrize(("n", "least"), [(2, 0.88), (4, 0.9), (16, 0.92), (64, 0.93)])
def test_intervals_cover_and_standard_errors_are_unbiased(n, least):
    """Of 600 Gaussian means; the standard error of a share of .95 is .009. Percentiles alone cover .48 at n = 2."""
    values = torch.randn(n, 600, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    found = means(values, resamples=400)
    assert sum(each.low <= 0 <= each.high for each in found) / 600 > least
    exact = values.std(dim=0).square() / n
    mean = sum(each.se**2 for each in found) / 600
    assert mean == pytest.approx(exact.mean().item(), rel=4 * (2 / 400 / 600) ** 0.5 + 4 * (2 / 400) ** 0.5)


def test_too_few_to_tell():
    one, none = means(torch.ones(1, 1))[0], means(torch.ones(0, 1))[0]
    assert one.value == 1 and math.isnan(one.se) and math.isnan(one.low)
    assert math.isnan(none.value)
    assert math.isnan(frechet_draws(torch.ones(1, 4), torch.ones(1, 4)).estimate().value)


@pytest.mark.parametrize(("n", "d"), [(12, 40), (30, 40), (100, 10)])
def test_value_is_the_frechet_distance(n, d):
    """In the coordinates of the samples (n < D), in those of both sets (2 n < D), and in the features' own."""
    generator = torch.Generator().manual_seed(0)
    x, clean, other = (gaussian(generator, k, d) + 0.1 for k in (n, n, 500))
    a, reference = Statistics.from_features(x), Statistics.from_features(other)
    assert frechet_draws(x, reference).value == pytest.approx(frechet_distance(a, reference), rel=1e-9)
    paired = frechet_draws(x, clean).value
    assert paired == pytest.approx(frechet_distance(a, Statistics.from_features(clean)), rel=1e-9)


@pytest.mark.parametrize("d", [16, 64])
def test_standard_error_of_a_frechet_distance(d):
    """Within 0.75 to 1.5 of what the root of the distance really varies by, over 50 data sets of 64 images.

    The plain bootstrap is off by a factor of 3 at d = 64.
    """
    generator = torch.Generator().manual_seed(0)
    reference = Statistics.from_features(gaussian(generator, 5000, d))
    found = {"fixed": [], "paired": [], "difference": []}
    for _ in range(50):
        clean = gaussian(generator, 64, d)
        x, first = 0.8 * clean + 0.3 * gaussian(generator, 64, d), 0.9 * clean + 0.2 * gaussian(generator, 64, d)
        fixed = frechet_draws(x, reference, 40).root
        found["fixed"].append(fixed)
        found["paired"].append(frechet_draws(x, clean, 40).root)
        found["difference"].append(fixed.minus(frechet_draws(first, reference, 40).root))
    for name, draws in found.items():
        truth = torch.tensor([draw.value for draw in draws]).std().item()
        estimated = sum(draw.estimate().se for draw in draws) / len(draws)
        assert 0.75 < estimated / truth < 1.5, f"{name}: estimated {estimated:.4f}, true {truth:.4f}"


def test_differences_are_paired():
    """Two restorations of the same images differ by less than their own standard errors suggest."""
    generator = torch.Generator().manual_seed(0)
    clean = gaussian(generator, 64, 16)
    reference = Statistics.from_features(gaussian(generator, 5000, 16))
    a, b = (frechet_draws(scale * clean, reference).root for scale in (0.8, 0.81))
    assert a.minus(b).estimate().se < 0.2 * a.estimate().se


def test_few_resamples_of_many_dimensions():
    x = torch.randn(320, 330, generator=torch.Generator().manual_seed(0))
    draws = frechet_draws(x, Statistics(torch.zeros(330).double(), torch.eye(330).double(), 10**6)).draws
    assert 32 <= len(draws) == 102
