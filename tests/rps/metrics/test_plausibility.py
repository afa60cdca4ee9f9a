"""Degraded pictures, their noise, and whether they can be A(x) + noise."""

import pytest
import torch

from rps.measurement import degrade, measured
from rps.metrics import EstimatedNoise, NoiseRatio
from rps.metrics.base import Candidate
from rps.noise import Estimated, estimate_noise
from rps.operators import BoxInpaint, Denoise, GaussianBlur, Inpaint, Jpeg, MotionBlur, SuperResolution
from rps.randomness import Streams
from rps.report.findings import findings

SIZE = 64


@pytest.fixture(scope="module")
def photos():
    data = pytest.importorskip("skimage.data")
    x = torch.from_numpy(data.astronaut()[:256, :256].copy()).permute(2, 0, 1)[None].double() / 127.5 - 1
    return torch.nn.functional.avg_pool2d(x, 256 // SIZE)


def ratio(measurement):
    found = NoiseRatio().judge(Candidate(measurement.y, measurement.y, measurement))
    return None if found is None else found.tolist()


@pytest.mark.parametrize("noise", [0.1, 0.2])
@pytest.mark.parametrize("operator", [GaussianBlur(15, 2.0), MotionBlur(9)], ids=["spectral", "Krylov"])
def test_the_right_operator_and_noise_fit_and_wrong_ones_do_not(photos, operator, noise):
    """The ratio is that of the noise to the one assumed."""
    y = degrade(photos, operator, noise).y
    assert ratio(measured(y, operator, noise, (3, SIZE, SIZE))) == pytest.approx([1.0], abs=0.1)
    assert ratio(measured(y, operator, noise / 2, (3, SIZE, SIZE))) == pytest.approx([2.0], abs=0.3)


@pytest.mark.parametrize("blurred", [Denoise(), GaussianBlur(15, 0.8)])
def test_a_picture_of_another_operator_does_not_fit(photos, blurred):
    """It has detail that the assumed kernel removes."""
    y = degrade(photos, blurred, 0.1).y
    assert ratio(measured(y, GaussianBlur(15, 3.0), 0.1, (3, SIZE, SIZE)))[0] > NoiseRatio.high[0]


@pytest.mark.parametrize("operator", [Denoise(), Inpaint(0.5), SuperResolution(4)])
def test_an_operator_that_nothing_contradicts_has_no_ratio(photos, operator):
    assert ratio(degrade(photos, operator, 0.1)) is None


def test_a_clean_image_needs_no_ratio(photos):
    y = degrade(photos, GaussianBlur(15, 2.0), 0.1)
    assert NoiseRatio().judge(Candidate(photos, photos, y, photos)) is None


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_the_noise_of_a_photograph_is_estimated(photos, noise):
    """Detail raises the estimate; the holes of a mask do not change it, whatever is in them."""
    pytest.importorskip("pywt")
    y = photos + noise * Streams(0, ["a"]).normal(photos.shape[1:])
    found = estimate_noise(y)
    assert isinstance(found, Estimated) and 0.95 * noise < found.std < 1.3 * noise + 0.03
    y[..., 16:48, 16:48] = 0.3
    assert measured(y, BoxInpaint(), None, (3, SIZE, SIZE)).noise_std == pytest.approx(found.std, rel=0.15)
    assert estimate_noise(y).std < 0.8 * found.std


def test_noise_that_is_not_given_is_estimated_and_recorded(photos):
    pytest.importorskip("pywt")
    y = degrade(photos, GaussianBlur(15, 2.0), 0.1).y
    blind, given = (measured(y, GaussianBlur(15, 2.0), noise, (3, SIZE, SIZE)) for noise in (None, 0.1))
    assert blind.noise_std == pytest.approx(0.1, rel=0.1)
    metric = EstimatedNoise()
    assert metric.judge(Candidate(y, y, blind)).tolist() == [blind.noise_std]
    assert metric.judge(Candidate(y, y, given)) is None


def test_the_noise_of_a_jpeg_includes_its_rounding(photos):
    pytest.importorskip("pywt")
    decoded = degrade(photos, Jpeg(90), 0.1).pseudo_inverse()
    blind, clean = (measured(decoded, Jpeg(90), noise, (3, SIZE, SIZE)) for noise in (None, 0.0))
    assert blind.noise_std == pytest.approx((estimate_noise(decoded).std ** 2 + clean.noise_std**2) ** 0.5)
    assert EstimatedNoise().judge(Candidate(decoded, decoded, blind)).tolist() == [pytest.approx(blind.noise_std)]
    assert EstimatedNoise().judge(Candidate(decoded, decoded, clean)) is None


def test_a_run_says_that_y_does_not_fit():
    """Once, from the line of A^+ y, and only if it is off by more than its error."""
    info = NoiseRatio().info.__dict__
    for value, word in ((2.0, "check the operator"), (0.5, "null to estimate"), (1.1, None)):
        summary = {
            "knob": "t0",
            "levels": [{"level": 0, "n": 4, "metrics": {}}],
            "pseudo_inverse": {"n": 4, "metrics": {info["name"]: {"mean": value, "se": 0.02}}},
            "metrics": [info],
        }
        told = findings(summary)
        assert len(told) == (word is not None) and (word is None or word in told[0])
