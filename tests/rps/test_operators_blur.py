"""Gaussian, uniform and motion blur, and bicubic super-resolution, against independent definitions of each."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import gaussian_blur

from rps.operators import BicubicSuperResolution, GaussianBlur, MotionBlur, UniformBlur
from rps.operators.motion_kernel import motion_kernels, path, rasterise
from rps.randomness import Streams
from tests.rps.operator_cases import bind, images


def test_gaussian_blur_is_torchvisions():
    x = images(2, (3, 40, 48))
    torch.testing.assert_close(bind(GaussianBlur(), (3, 40, 48), 2)(x), gaussian_blur(x, [61, 61], [3.0, 3.0]))


def test_uniform_blur_is_the_mean_of_a_square():
    x = images(2, (3, 16, 20))
    expected = F.avg_pool2d(F.pad(x, (4, 4, 4, 4), mode="reflect"), 9, stride=1)
    torch.testing.assert_close(bind(UniformBlur(), (3, 16, 20), 2)(x), expected)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_bicubic_super_resolution_is_the_antialiased_resize_of_the_mirrored_image(factor):
    """torch's resize, which has Pillow's filter but no mirror: mirror the image by hand, and cut off the border."""
    shape = (2, 2 * 24, 24)
    x, border = images(1, shape), 2 * factor
    mirrored = torch.cat([x[..., :border].flip(-1), x, x[..., -border:].flip(-1)], -1)
    mirrored = torch.cat([mirrored[..., :border, :].flip(-2), mirrored, mirrored[..., -border:, :].flip(-2)], -2)
    size = [n // factor + 4 for n in shape[1:]]
    expected = F.interpolate(mirrored, size=size, mode="bicubic", antialias=True)[..., 2:-2, 2:-2]
    torch.testing.assert_close(bind(BicubicSuperResolution(factor), shape, 1)(x), expected)


def test_motion_blur_is_torchs_convolution_of_each_image_with_its_own_kernel():
    x, operator = images(3, (2, 16, 20)), bind(MotionBlur(7), (2, 16, 20), 3)
    assert operator.kernel.shape == (3, 1, 7, 7)
    for row in range(3):
        padded = F.pad(x[row].unsqueeze(1), (3, 3, 3, 3), mode="reflect")
        expected = F.conv2d(padded, operator.kernel[row : row + 1]).squeeze(1)
        torch.testing.assert_close(operator(x)[row], expected)
    assert not torch.equal(operator.kernel[0], operator.kernel[1])


@pytest.mark.parametrize("intensity", [0.0, 0.5, 1.0])
def test_motion_kernels_are_light_on_a_path_about_the_middle(intensity):
    kernels = motion_kernels(Streams(0, [str(i) for i in range(50)]), 31, intensity)
    assert (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(50, dtype=torch.float64))
    offset = torch.arange(31, dtype=torch.float64) - 15
    for moment in (kernels.sum(2) * offset, kernels.sum(3) * offset):
        assert moment.sum(-1).abs().max() < 1e-12
    assert len(kernels.unique(dim=0)) == 50


def straightness(intensity):
    """Distance between the ends of a path over its length: mean over 200 paths, and its standard error."""
    streams = Streams(0, [str(i) for i in range(200)])
    normals, uniforms = streams.normal((2 * 124,)).tolist(), streams.uniform((126,)).tolist()
    ratios = []
    for n, u in zip(normals, uniforms, strict=True):
        positions = path(n, u, 31, intensity)
        length = sum(abs(b - a) for a, b in pairwise(positions))
        assert 15 <= length <= 30 + 1e-9
        assert max(max(abs(p.real), abs(p.imag)) for p in positions) <= 15
        ratios.append(abs(positions[-1] - positions[0]) / length)
    ratios = torch.tensor(ratios)
    return ratios.mean(), ratios.std() / math.sqrt(200)


def test_intensity_bends_the_path():
    """A line at 0, and less straight the more the camera shakes, by more than 5 standard errors each time."""
    means, errors = zip(*(straightness(intensity) for intensity in (0.0, 0.25, 0.5, 1.0)), strict=True)
    assert means[0] == pytest.approx(1.0)
    for i in range(3):
        assert means[i] - means[i + 1] > 5 * math.hypot(errors[i], errors[i + 1])


def test_light_is_shared_among_the_nearest_pixels():
    assert rasterise([0.25 - 0.5j], 3) == [[0.0, 0.375, 0.125], [0.0, 0.375, 0.125], [0.0, 0.0, 0.0]]
    assert rasterise([1 + 1j], 3)[2][2] == 1.0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GaussianBlur(taps=60), "taps must be odd and >= 1.* got 60"),
        (lambda: UniformBlur(taps=0), "taps must be odd and >= 1.* got 0"),
        (lambda: BicubicSuperResolution(0), "factor must be >= 1, got 0"),
        (lambda: MotionBlur(taps=4), "taps must be odd and >= 3.* got 4"),
        (lambda: MotionBlur(intensity=1.5), r"intensity must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
