"""Operators against their published definitions, in numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from rps.operators import (
    AnisotropicBlur,
    BicubicSuperResolution,
    BoxInpaint,
    Compose,
    Denoise,
    Inpaint,
    SeparableBlur,
    Shared,
    SuperResolution,
    check_operator,
)
from tests.rps.operator_cases import bind, images


def test_super_resolution_is_mean_pooling():
    operator = bind(SuperResolution(2), (1, 2, 4), n=1)
    x = torch.tensor([[[[1.0, 2, 10, 20], [3, 4, 30, 40]]]])
    assert operator(x).tolist() == [[[[2.5, 25.0]]]]
    assert operator.pinv(operator(x)).tolist() == [[[[2.5, 2.5, 25.0, 25.0], [2.5, 2.5, 25.0, 25.0]]]]


def test_large_factors_keep_their_pseudo_inverse():
    """Singular values of 1/16 are all there is: rcond is relative to the largest."""
    y = images(1, (1, 2, 2))
    upsampled = bind(SuperResolution(16), (1, 32, 32), n=1).pinv(y, rcond=0.1)
    torch.testing.assert_close(upsampled, F.interpolate(y, scale_factor=16, mode="nearest"))


@pytest.mark.parametrize("operator", [SuperResolution(5), BicubicSuperResolution(5)])
def test_a_size_that_the_factor_does_not_divide(operator):
    """One more pixel, which stands for what is left; the adjoint, A^+ and singular values hold as ever."""
    assert bind(operator, (3, 16, 32))(images(2, (3, 16, 32))).shape == (2, 3, 4, 7)
    assert check_operator(operator, shape=(3, 16, 32)) == []


def test_the_last_pixels_are_means_of_what_is_left():
    operator, x = bind(SuperResolution(16), (1, 17, 32), n=1), images(1, (1, 17, 32))
    y = operator(x)
    torch.testing.assert_close(y[..., 1, 0], x[..., 16, :16].mean(-1))
    upsampled = operator.pinv(y, rcond=0.1)  # the singular values are 1/16 and 1/4
    torch.testing.assert_close(upsampled, F.interpolate(y, scale_factor=16, mode="nearest")[..., :17, :])


def test_the_images_that_a_picture_is_the_measurement_of():
    small = (3, 5, 7)
    assert SuperResolution(4).image_shape_of(small) == BicubicSuperResolution(4).image_shape_of(small) == (3, 20, 28)
    assert Shared(Compose([SuperResolution(2), Denoise(), SuperResolution(2)])).image_shape_of(small) == (3, 20, 28)
    assert AnisotropicBlur().image_shape_of(small) == Inpaint().image_shape_of(small) == small


def test_inpainting_keeps_exactly_its_fraction_of_whole_pixels():
    x, n = images(64), 64
    operator = bind(Inpaint(0.3), n=n)
    count = round(0.3 * 16 * 32)
    y = operator(x)
    assert y.shape == (n, 3, count)
    kept = operator.adjoint(torch.ones_like(y))
    assert ((kept == 0) | (kept == 1)).all() and (kept == kept[:, :1]).all()
    torch.testing.assert_close(operator.adjoint(y), x * kept)
    assert (operator.index.diff(dim=1) > 0).all()
    assert len({tuple(row) for row in operator.index.tolist()}) == n


def test_inpainting_keeps_every_pixel_equally_often():
    """Counts over 2,000 masks within 5 standard errors."""
    n, keep = 2000, 0.25
    kept = bind(Inpaint(keep), (1, 8, 8), n=n).adjoint(torch.ones(n, 1, 16)).sum(0)
    assert ((kept - keep * n).abs() < 5 * math.sqrt(n * keep * (1 - keep))).all()


def hole(operator, height=16, width=32, n=1):
    """1 where nothing is measured.  -> bool [N, H, W]."""
    bound = bind(operator, (1, height, width), n=n)
    m = bound.index.shape[1]
    return bound.adjoint(torch.ones(n, 1, m))[:, 0] == 0


def test_box_in_the_centre():
    expected = torch.zeros(1, 16, 32, dtype=torch.bool)
    expected[:, 4:12, 8:24] = True
    assert torch.equal(hole(BoxInpaint()), expected)
    expected[:] = False
    expected[:, 6:10, 14:18] = True
    assert torch.equal(hole(BoxInpaint(4)), expected)


def test_random_boxes_fill_the_room_that_the_margin_leaves():
    boxes = hole(BoxInpaint(4, "random", margin=3), n=2000)
    assert (boxes.flatten(1).sum(1) == 16).all()
    top, left = boxes.any(2).float().argmax(1), boxes.any(1).float().argmax(1)
    for corner, size in ((top, 16), (left, 32)):
        places = size - 4 - 2 * 3 + 1
        counts = torch.bincount(corner - 3, minlength=places).float()
        assert corner.min() == 3 and corner.max() == size - 3 - 4
        assert ((counts - 2000 / places).abs() < 5 * math.sqrt(2000 / places)).all()
    rows = torch.zeros_like(boxes)
    for i in range(2000):
        rows[i, top[i] : top[i] + 4, left[i] : left[i] + 4] = True
    assert torch.equal(rows, boxes)


def test_anisotropic_blur_is_its_formula():
    """An impulse in the interior becomes the outer product of the two normalised nine-tap Gaussians."""
    x = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    x[..., 16, 15] = 1.0
    k = torch.arange(-4, 5, dtype=torch.float64)
    vertical, horizontal = (torch.exp(-(k**2) / (2 * std**2)) for std in (1.0, 20.0))
    expected = torch.zeros(32, 32, dtype=torch.float64)
    expected[12:21, 11:20] = torch.outer(vertical / vertical.sum(), horizontal / horizontal.sum())
    torch.testing.assert_close(bind(AnisotropicBlur(), (1, 32, 32), 1)(x)[0, 0], expected)


def test_blur_keeps_constants_by_reflection_and_darkens_the_border_with_zeros():
    x = torch.full((1, 1, 16, 16), 0.7, dtype=torch.float64)
    torch.testing.assert_close(bind(AnisotropicBlur(), (1, 16, 16), 1)(x), x)
    y = bind(AnisotropicBlur(padding="zeros"), (1, 16, 16), 1)(x)
    torch.testing.assert_close(y[..., 4:12, 4:12], x[..., 4:12, 4:12])
    assert y[..., 0, 0] < 0.5


@pytest.mark.parametrize(("padding", "mode"), [("reflect", "reflect"), ("zeros", "constant")])
def test_separable_blur_is_torchs_convolution(padding, mode):
    """Asymmetric taps: orientation, axes and border as F.pad and F.conv2d have them."""
    v, h = [0.1, 0.7, 0.4], [0.2, 0.5, 0.1, -0.3, 0.9]
    x = images()
    kernel = torch.outer(torch.tensor(v, dtype=torch.float64), torch.tensor(h, dtype=torch.float64))
    padded = F.pad(x, (2, 2, 1, 1), mode=mode)
    expected = F.conv2d(padded.flatten(0, 1).unsqueeze(1), kernel.view(1, 1, 3, 5)).view_as(x)
    torch.testing.assert_close(bind(SeparableBlur(v, h, padding))(x), expected)


def test_blur_of_an_image_smaller_than_its_kernel_keeps_constants():
    for shape in ((1, 3, 2), (1, 1, 1)):
        x = torch.full((1, *shape), 0.7)
        torch.testing.assert_close(bind(AnisotropicBlur(), shape, 1)(x), x)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SuperResolution(0), "factor must be >= 1, got 0"),
        (lambda: Inpaint(0.0), r"must be in \(0, 1\], got 0.0"),
        (lambda: bind(Inpaint(1e-4)), "leaves no pixel of a 16 x 32 image"),
        (lambda: BoxInpaint(0), "size must be >= 1"),
        (lambda: BoxInpaint(place="left"), "place must be centre or random"),
        (lambda: BoxInpaint(margin=-1), "margin must be >= 0"),
        (lambda: bind(BoxInpaint(12, margin=3)), "12 x 12 pixels with a margin of 3 does not fit into .* 16 x 32"),
        (lambda: bind(BoxInpaint(16), (1, 16, 16)), "or leaves no pixel to measure"),
        (lambda: AnisotropicBlur(taps=8), "taps must be odd and >= 1.* got 8"),
        (lambda: AnisotropicBlur(std_vertical=0.0), "must be > 0 pixels, got 0.0"),
        (lambda: AnisotropicBlur(padding="wrap"), "padding must be reflect or zeros, got 'wrap'"),
        (lambda: SeparableBlur([1.0, 1.0], [1.0]), "vertical must have an odd number of taps"),
    ],
)
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
