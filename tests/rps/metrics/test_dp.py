"""Points of the distortion-perception plane, and differences between levels."""

import math

import pytest
import torch

from rps.metrics import Images, Statistics, difference, frechet_distance


def images(n: int, blur: float, seed: int = 0) -> Images:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(n, 5, generator=generator)
    values = {"rmse": 0.1 + blur * torch.rand(n, generator=generator), "lpips": torch.full((n,), math.nan)}
    return Images([f"{i:02d}" for i in range(n)], values, (1 - blur) * clean, clean)


def test_a_point_of_the_plane():
    own = images(20, 0.6)
    assert own.means["rmse"].value == pytest.approx(own.values["rmse"].mean().item())
    distance = frechet_distance(*(Statistics.from_features(f) for f in (own.features, own.reference)))
    root = own.frechet.root.estimate()
    assert root.value == pytest.approx(math.sqrt(distance)) and root.low < root.value < root.high


def test_metrics_that_apply_to_no_image_are_left_out():
    assert set(images(4, 0.5).means) == {"rmse"}


def test_a_metric_that_applies_to_some_images():
    found = Images(["a", "b", "c"], {"ssim": torch.tensor([0.5, math.nan, 0.7]), "rmse": torch.ones(3)}).means
    assert found["ssim"].value == pytest.approx(0.6) and list(found) == ["ssim", "rmse"]


def test_differences_are_of_the_samples_that_both_have():
    whole, first = images(12, 0.3), images(12, 0.6)
    some = whole.only(["03", "01", "07", "11", "00"])
    paired = difference(some, first)
    index = torch.tensor([3, 1, 7, 11, 0])
    assert paired.n == 5
    expected = (whole.values["rmse"] - first.values["rmse"])[index]
    assert paired.means["rmse"].value == pytest.approx(expected.mean().item())
    assert paired.means["rmse"].se == pytest.approx(expected.std().item() / math.sqrt(5), rel=0.1)
    here, there = some.frechet, first.only(some.ids).frechet
    assert paired.distances["sqrt_frechet"].value == pytest.approx(math.sqrt(here.value) - math.sqrt(there.value))


def test_nothing_in_common():
    paired = difference(images(2, 0.1), Images(["x"], {"rmse": torch.ones(1)}))
    assert paired.n == 0 and paired.means == {} and paired.distances == {}
