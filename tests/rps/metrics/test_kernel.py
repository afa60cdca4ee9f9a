"""The kernel distance, and precision and recall: against their formulas, known answers and what really varies."""

import math

import pytest
import torch

from rps.metrics import kernel_distance, kernel_draws, precision_recall


def gaussian(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def written_out(x: torch.Tensor, r: torch.Tensor) -> float:
    """The double sums, one pair at a time."""

    def k(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(x), len(r)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(r[i], r[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(k(a, b) for a in x for b in r) / (n * m)


def test_kernel_distance_is_its_formula():
    x, r = gaussian(7, 5, 0), gaussian(9, 5, 1, 0.5)
    assert kernel_distance(x, r) == pytest.approx(written_out(x, r), rel=1e-10)
    assert kernel_draws(x, r).value == pytest.approx(kernel_distance(x, r), rel=1e-10)
    assert kernel_draws(x, r[:7], paired=True).value == pytest.approx(written_out(x, r[:7]), rel=1e-10)


def test_kernel_distance_is_that_of_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    x, r = gaussian(40, 16, 0).float(), gaussian(40, 16, 1, 0.2).float()
    assert kernel_distance(x, r) == pytest.approx(poly_mmd(r, x).item(), abs=1e-4)


def test_equal_distributions_have_distance_zero_on_average():
    """Unbiased, unlike the Frechet distance: the mean over 200 pairs of sets is within 4 standard errors of 0."""
    values = torch.tensor([kernel_distance(gaussian(20, 8, 2 * i), gaussian(20, 8, 2 * i + 1)) for i in range(200)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert (values < 0).any()


@pytest.mark.parametrize("paired", [False, True])
def test_standard_error_of_a_kernel_distance(paired):
    """Within .75 to 1.4 of what the distance varies by over 60 data sets; the ratio itself is known to 9 %."""
    fixed = gaussian(200, 8, 10_000)
    values, estimated = [], []
    for seed in range(60):
        clean = gaussian(60, 8, seed)
        x = 0.8 * clean + 0.3 * gaussian(60, 8, seed + 1000) + 0.3
        draws = kernel_draws(x, clean if paired else fixed, paired)
        values.append(draws.value)
        estimated.append(draws.estimate().se)
    ratio = sum(estimated) / 60 / torch.tensor(values).std().item()
    assert 0.75 < ratio < 1.4, ratio


def test_precision_and_recall_are_their_formulas():
    x, r, k = gaussian(12, 3, 0), gaussian(15, 3, 1, 0.8), 3

    def covered(points, centres):
        hits = 0
        for p in points:
            radii = [sorted(float((c - other).norm()) for other in centres)[k] for c in centres]
            hits += any(float((p - c).norm()) <= radius for c, radius in zip(centres, radii, strict=True))
        return hits / len(points)

    found = precision_recall(x, r, k)
    assert found.precision.value == pytest.approx(covered(x, r)) and found.recall.value == pytest.approx(covered(r, x))
    assert (found.n, found.m, found.neighbours) == (12, 15, 3)


def test_precision_and_recall_tell_quality_from_coverage():
    """Images of one of two modes are all good, and cover half; noise far away is not good at all."""
    modes = torch.cat([gaussian(100, 4, 0), gaussian(100, 4, 1, 30.0)])
    one = precision_recall(gaussian(200, 4, 2), modes)
    assert one.precision.value > 0.8 and one.recall.value == pytest.approx(0.5, abs=0.08)
    far = precision_recall(gaussian(50, 4, 3, 500.0), modes)
    assert far.precision.value == far.recall.value == 0
    same = precision_recall(modes, modes)
    assert same.precision.value == same.recall.value == 1


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="needs features"):
        kernel_distance(torch.zeros(1, 4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="finite features"):
        kernel_distance(torch.full((3, 4), math.nan), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="as many features of clean images"):
        kernel_draws(torch.zeros(3, 4), torch.zeros(4, 4), paired=True)
    with pytest.raises(ValueError, match="more than 3 images in each set, got 3 and 9"):
        precision_recall(torch.zeros(3, 4), torch.zeros(9, 4))
