"""Claims of a change are wrong as often as stated, and the suggested number of images shows one as often as stated."""

import numpy as np
import pytest
import torch

from rps.metrics import Statistics, frechet_distance, frechet_draws, means
from rps.metrics.frechet import expected_root
from rps.metrics.intervals import mean_draws
from rps.metrics.significance import FEWEST_IN_SET, images_needed, is_change, threshold

N = 400


def claims(n: int, shift: float = 0.0) -> float:
    """Share of N sets of n values N(shift, 1) whose mean differs significantly from zero (bootstrap standard error)."""
    values = np.random.default_rng(n).normal(shift, 1, (N, n))
    found = [means(torch.from_numpy(row).unsqueeze(1), resamples=300)[0] for row in values]
    return float(np.mean([is_change(each.value, each.se, n) for each in found]))


@pytest.mark.parametrize("n", [3, 8, 64])
def test_one_in_twenty_means_without_a_change_is_claimed(n):
    """To 3 standard errors of the share. With 1.96 for the threshold, 22 % would be at n = 3."""
    assert claims(n) == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / N) ** 0.5 + 0.01)


def test_the_suggested_number_of_images_shows_the_change():
    needed = images_needed(0.5, 1 / 4, 16)  # one standard deviation of an image is 1, as in `claims`
    assert needed == pytest.approx(31.36)
    assert claims(32, 0.5) == pytest.approx(0.8, abs=0.07)
    assert images_needed(0.0, 1.0, 16) == np.inf


def test_too_few_or_unknown_values_are_no_change():
    assert not is_change(1.0, 0.0, 1) and not is_change(1.0, float("nan"), 9) and not is_change(0.0, 0.0, 9)
    assert threshold(16) == pytest.approx(2.1314495)


@pytest.mark.slow
def test_one_in_twenty_distances_without_a_change_is_claimed():
    """For the smallest set allowed, D = 32, between two sets of the same law that share half of their variance."""
    generator = torch.Generator().manual_seed(0)
    reference = Statistics.from_features(torch.randn(2000, 32, generator=generator))
    told = 0
    for _ in range(150):
        shared, a, b = torch.randn(3, FEWEST_IN_SET, 32, generator=generator) / 2**0.5
        draws = [frechet_draws(shared + each, reference, resamples=100).root for each in (a, b)]
        found = draws[0].minus(draws[1]).estimate()
        told += is_change(found.value, found.se, FEWEST_IN_SET)
    assert told / 150 < 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5


@pytest.mark.parametrize("n", [3, 12, 100])
def test_expected_root_is_that_of_samples(n):
    """Fewer and more samples than the 8 dimensions, to 3 standard errors."""
    generator = torch.Generator().manual_seed(n)
    mixing = torch.randn(8, 8, generator=generator).double()
    reference = Statistics(torch.ones(8).double(), mixing @ mixing.mT, 1000)
    drawn = [1 + torch.randn(n, 8, generator=generator).double() @ mixing.mT for _ in range(60)]
    roots = torch.tensor([frechet_distance(Statistics.from_features(x), reference) ** 0.5 for x in drawn])
    expected = expected_root(reference, n, draws=60)
    assert expected == pytest.approx(roots.mean().item(), abs=3 * 2**0.5 * roots.std().item() / 60**0.5)


def test_means_and_distances_are_resampled_together():
    """The Frechet distance to a far reference is nearly linear: its root moves as the mean of the only feature does."""
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double()
    reference = Statistics(torch.tensor([1000.0]).double(), torch.eye(1).double(), 100)
    mean, distance = mean_draws(x[:, 0]), frechet_draws(x, reference).root
    assert mean.estimate().se == pytest.approx(x.std().item() / 50**0.5, rel=0.15)
    assert torch.corrcoef(torch.stack([mean.draws, distance.draws]))[0, 1] < -0.999
